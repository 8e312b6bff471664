"""Tables of the version before, with people in them."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from foretick_rpc.database import migrate, open_database
from subscription_svc import sign_ins
from subscription_svc.account_rows import list_accounts
from subscription_svc.sign_ins import SignInKey
from subscription_svc.subscription_rows import Subscription, list_all
from subscription_svc.watchlist_rows import Watchlist

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def make_0001(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "subscription_svc:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    is_sqlite = connection.dialect.name == "sqlite"

    def stored(time: datetime) -> object:
        return f"{time:%Y-%m-%d %H:%M:%S.%f}" if is_sqlite else time

    for days, name in enumerate(("bob", "ann")):
        values = {
            "name": name,
            "hash": sha256(name.encode()).hexdigest(),
            "began": stored(NOW - timedelta(days=days)),
            "ends": stored(NOW + timedelta(days=20)),
        }
        for statement in (
            "INSERT INTO accounts VALUES (:name, :name, :name, 'hash', :began)",
            "INSERT INTO sign_ins VALUES (:hash, :name, :began, :began, :ends, NULL)",
        ):
            connection.execute(text(statement), values)
        for minutes, symbol in enumerate(("XOM", "AAPL", "KO")[days:]):
            connection.execute(
                text("INSERT INTO subscriptions VALUES (:name, :symbol, :since)"),
                {
                    "name": name,
                    "symbol": symbol,
                    "since": stored(NOW - timedelta(days=days, minutes=-minutes)),
                },
            )


async def test_nobody_is_lost_and_the_eldest_is_the_administrator(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        engine = create_engine(database_url)
        with engine.begin() as connection:
            make_0001(connection)
        engine.dispose()
    else:
        async_engine = create_async_engine(database_url.replace(":", "+asyncpg:", 1))
        async with async_engine.begin() as async_connection:
            await async_connection.run_sync(make_0001)
        await async_engine.dispose()
    await migrate(database_url, "subscription_svc")
    async with open_database(database_url, "subscription_svc") as database:
        found = await database.read(list_accounts)
        assert [(each.account_id, each.administrator) for each, _ in found] == [
            ("ann", True),
            ("bob", False),
        ]
        keys = [SignInKey(name, name) for name in ("ann", "bob")]
        callers = await database.read(lambda connection: sign_ins.check(connection, keys, NOW))
        assert [callers[key].remembered for key in keys] == [True, True]
        lists = await database.read(lambda c: list_all(c, {"ann", "bob"}))
        for name, symbols in (("bob", ["XOM", "AAPL", "KO"]), ("ann", ["AAPL", "KO"])):
            assert lists[name].watchlists == (Watchlist(name, "Watchlist", 0),)
            since = NOW - timedelta(days=name == "ann")
            assert lists[name].subscriptions == tuple(
                Subscription(symbol, since + timedelta(minutes=n), name, "", n)
                for n, symbol in enumerate(symbols)
            )
