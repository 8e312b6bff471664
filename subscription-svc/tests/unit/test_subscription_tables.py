"""The statements against an SQLite database in memory, and the migrations against real ones."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.exc import StatementError
from sqlalchemy.pool import StaticPool

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.testing import schema_differences
from subscription_svc import audit, pruning, schema, sign_ins, subscription_rows
from subscription_svc.account_rows import (
    find_credentials,
    insert_account,
    replace_password_hash,
)
from subscription_svc.admission import Admission, require
from subscription_svc.audit import AuditKind, Entry
from subscription_svc.clients import Client
from subscription_svc.credentials import EmailAddress
from subscription_svc.refusals import (
    EmailTakenError,
    NotSubscribedError,
    SignInInvalidError,
    TooManySubscriptionsError,
)
from subscription_svc.sign_ins import SignInKey
from subscription_svc.subscription_rows import Addition, Subscription, Wanted
from subscription_svc.subscriptions import Subscriptions
from subscription_svc.watchlist_rows import hold

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    schema.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await migrate(database_url, "subscription_svc")
    async with open_database(database_url, "subscription_svc") as database:
        yield database


@contextmanager
def noting_statements() -> Iterator[list[str]]:
    """The first word of each statement from now on, those that begin transactions left out."""
    statements: list[str] = []

    def note(*arguments: object) -> None:
        verb = str(arguments[2]).split()[0]
        if verb != "BEGIN":
            statements.append(verb)

    event.listen(Engine, "before_cursor_execute", note)
    yield statements
    event.remove(Engine, "before_cursor_execute", note)


def make_account(connection: Connection, name: str = "ann", now: datetime = NOW) -> str:
    address = EmailAddress(f"{name}@x.test", f"{name}@x.test")
    return insert_account(connection, address, "hash", now).account_id


def add(
    connection: Connection, account_id: str, symbol: str, now: datetime
) -> tuple[Subscription, bool]:
    held = hold(connection, account_id)
    addition = Addition(held, held.get(""), Wanted(symbol, "", now))
    [added] = subscription_rows.add_all(connection, [addition])
    if isinstance(added, TooManySubscriptionsError):
        raise added
    return added


def remove(connection: Connection, account_id: str, symbol: str) -> list[Subscription]:
    held = hold(connection, account_id)
    return subscription_rows.remove(connection, held, held.lists, symbol)


def test_times_come_back_aware_and_in_utc(connection: Connection) -> None:
    local = datetime(2024, 3, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    make_account(connection, now=local)
    stored = connection.execute(select(schema.accounts.c.create_time)).scalar_one()
    assert stored == local
    assert stored.tzinfo is UTC
    with pytest.raises(StatementError, match="without a zone"):
        make_account(connection, "bob", datetime(2024, 3, 1))  # noqa: DTZ001 what is refused


def test_the_key_of_an_address_is_unique(connection: Connection) -> None:
    make_account(connection)
    with pytest.raises(EmailTakenError) as caught:
        make_account(connection)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_hash_is_only_replaced_while_it_is_the_one_that_was_verified(
    connection: Connection,
) -> None:
    make_account(connection)
    found = find_credentials(connection, "ann@x.test")
    assert found is not None
    assert found.password_hash == "hash"
    assert "hash" not in repr(found).replace("password_hash", "")
    replace_password_hash(connection, found, "new")
    replace_password_hash(connection, found, "too late")
    assert find_credentials(connection, "ann@x.test") == replace(found, password_hash="new")
    assert find_credentials(connection, "bob@x.test") is None


def test_sign_in_ids_are_random_secrets(connection: Connection) -> None:
    account_id = make_account(connection)
    keys = [sign_ins.begin(connection, account_id, NOW).key for _ in range(100)]
    assert len({key.sign_in_id for key in keys}) == 100
    assert keys[0].sign_in_id not in repr(keys[0])


@pytest.mark.parametrize(
    ("remembered", "lasts"), [(False, timedelta(hours=12)), (True, timedelta(days=30))]
)
def test_expiry_is_exact_and_slides_with_use(
    connection: Connection, remembered: bool, lasts: timedelta
) -> None:
    sign_in = sign_ins.begin(connection, make_account(connection), NOW, remembered=remembered)
    assert sign_in.expire_time == NOW + lasts
    last = sign_in.expire_time - timedelta(microseconds=1)
    assert not sign_ins.check(connection, [sign_in.key], sign_in.expire_time)
    with pytest.raises(SignInInvalidError):
        require(connection, sign_in.key, sign_in.expire_time)
    caller = require(connection, sign_in.key, last)
    assert caller.account.email == "ann@x.test"
    sign_ins.record_use(connection, [caller.sign_in_hash], last)
    assert require(connection, sign_in.key, last).expire_time == last + lasts
    assert not sign_ins.check(connection, [sign_in.key], last + lasts)
    sign_ins.record_use(connection, [caller.sign_in_hash], last + lasts)  # too late
    assert not sign_ins.check(connection, [sign_in.key], last + lasts)


def test_a_revoked_sign_in_is_not_prolonged(connection: Connection) -> None:
    sign_in = sign_ins.begin(connection, make_account(connection), NOW)
    sign_ins.revoke(connection, sign_in.key.account_id, NOW)
    sign_ins.record_use(connection, [sign_in.device_id], NOW + timedelta(hours=1))
    expire_time = connection.execute(select(schema.sign_ins.c.expire_time)).scalar_one()
    assert expire_time == sign_in.expire_time


@pytest.mark.parametrize(("seconds", "count"), [(0, 0), (59, 0), (60, 1), (6000, 1)])
def test_use_is_due_for_recording_after_a_minute(
    connection: Connection, seconds: int, count: int
) -> None:
    sign_in = sign_ins.begin(connection, make_account(connection), NOW)
    callers = sign_ins.check(connection, [sign_in.key], NOW).values()
    assert len(sign_ins.due(callers, NOW + timedelta(seconds=seconds))) == count


def test_subscriptions_of_an_account(connection: Connection) -> None:
    ann, bob = make_account(connection), make_account(connection, "bob")
    for minutes, symbol in enumerate(("XOM", "AAPL", "XOM", "KO")):
        add(connection, ann, symbol, NOW + timedelta(minutes=minutes))
    add(connection, bob, "AAPL", NOW)
    assert [each.symbol for each in remove(connection, ann, "AAPL")] == ["AAPL"]
    with pytest.raises(NotSubscribedError):
        remove(connection, ann, "AAPL")
    lists = subscription_rows.list_all(connection, {ann, bob})
    assert {
        owner: [each.symbol for each in followed.subscriptions] for owner, followed in lists.items()
    } == {ann: ["XOM", "KO"], bob: ["AAPL"]}
    assert lists[ann].subscriptions[0].create_time == NOW


def test_the_limit_is_per_account(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_rows, "MAX_SUBSCRIPTIONS", 2)
    ann, bob = make_account(connection), make_account(connection, "bob")
    for owner in (ann, bob):
        for symbol in ("A", "B"):
            assert add(connection, owner, symbol, NOW)[1]
    assert not add(connection, ann, "B", NOW)[1]
    with pytest.raises(TooManySubscriptionsError, match="at most 2"):
        add(connection, ann, "C", NOW)


def test_the_oldest_of_too_many_events_of_an_account_go(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "MAX_AUDIT_EVENTS", 2)
    owners = [make_account(connection), make_account(connection, "bob"), None]
    for n in range(4):
        for owner in owners:
            entry = Entry(AuditKind.SIGNED_IN, Client(), NOW, owner, detail=str(n))
            audit.record(connection, entry)
    pruning.prune(connection, NOW)
    for owner in owners[:2]:
        assert owner is not None
        assert [each.detail for each in audit.list_events(connection, owner)] == ["3", "2"]
    left = connection.execute(select(schema.audit_events.c.account_id)).scalars().all()
    assert list(left).count(None) == 4


async def test_the_migrations_make_the_tables_that_the_code_names(database: Database) -> None:
    assert await schema_differences(database, schema.metadata) == []


async def test_times_come_back_the_same_from_a_database(database: Database) -> None:
    local = datetime(2024, 3, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))

    def keep(connection: Connection) -> tuple[str, datetime]:
        account_id = make_account(connection, now=local)
        return account_id, add(connection, account_id, "AAPL", local)[0].create_time

    account_id, returned = await database.write(keep)
    found = await database.read(lambda connection: find_credentials(connection, "ann@x.test"))
    assert found is not None
    listed = await database.read(lambda c: subscription_rows.list_all(c, {account_id}))
    [followed] = listed[account_id].subscriptions
    for time in (returned, found.account.create_time, followed.create_time):
        assert time == local
        assert time.tzinfo is UTC


async def test_a_batch_takes_two_statements_whatever_its_size(database: Database) -> None:
    def now() -> datetime:
        return NOW

    def fill(connection: Connection) -> list[SignInKey]:
        keys = []
        for n in range(200):
            account_id = make_account(connection, f"u{n}")
            keys.append(sign_ins.begin(connection, account_id, NOW).key)
            add(connection, account_id, f"S{n}", NOW)
        return keys

    keys = await database.write(fill)
    with noting_statements() as statements:
        answers = await Subscriptions(Admission(database, now), now).batch_list(keys)
    assert [[s.symbol for s in answer.followed.subscriptions] for answer in answers] == [
        [f"S{n}"] for n in range(200)
    ]
    assert statements == ["SELECT", "SELECT"]
