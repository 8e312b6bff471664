"""Accounts that are signed in and follow symbols, written by the services' own code."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from sqlalchemy import Connection

from foretick_rpc.database import open_database
from gateway.access import SESSION_KEY
from gateway.key_files import session_keys
from gateway.sign_in_cookie import COOKIE_NAME, SignInCookieStorage
from gateway.visitors import VISITOR, Visitor
from subscription_svc import sign_ins, subscription_rows, watchlist_rows
from subscription_svc.account_rows import insert_account
from subscription_svc.credentials import EmailAddress
from subscription_svc.sign_ins import SignInKey
from subscription_svc.subscription_rows import Wanted


@dataclass(frozen=True)
class SignedUp:
    """Somebody with an account: the sign-in, and the cookie that a browser holds it by."""

    key: SignInKey
    cookie: str


async def sign_up(folder: Path, lists: Sequence[Sequence[str]]) -> list[SignedUp]:
    """Make an account for each list, before subscription-svc starts."""
    url = f"sqlite:///{folder / 'subscription.db'}"
    async with open_database(url, "subscription_svc") as database:
        keys = await database.write(lambda connection: _follow(connection, lists))
    storage = SignInCookieStorage(session_keys(folder))
    return [SignedUp(key, await _cookie(storage, key)) for key in keys]


def _follow(connection: Connection, lists: Sequence[Sequence[str]]) -> list[SignInKey]:
    now = datetime.now(UTC)
    keys = []
    for number, symbols in enumerate(lists):
        email = f"reader{number}@example.org"
        # Nobody signs in by password here, and hashing thousands of them would take minutes.
        account = insert_account(connection, EmailAddress(email, email), "", now)
        held = watchlist_rows.hold(connection, account.account_id)
        wanted = [Wanted(symbol, "", now) for symbol in symbols]
        subscription_rows.add_all(connection, held, held.get(""), wanted)
        keys.append(sign_ins.begin(connection, account.account_id, now).key)
    return keys


async def _cookie(storage: SignInCookieStorage, key: SignInKey) -> str:
    """The cookie that the gateway would set, as a browser sends it."""
    request = make_mocked_request("GET", "/")
    request[VISITOR] = Visitor("127.0.0.1", "localhost", None)
    session = await storage.new_session()
    session[SESSION_KEY] = f"{key.account_id}:{key.sign_in_id}"
    response = web.Response()
    await storage.save_session(request, response, session)
    return f"{COOKIE_NAME}={response.cookies[COOKIE_NAME].value}"
