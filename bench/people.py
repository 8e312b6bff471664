"""Accounts that are signed in and follow symbols, as the services' own code writes them."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from sqlalchemy import Connection, Table

from foretick_rpc.database import open_database
from gateway.access import SESSION_KEY
from gateway.key_files import session_keys
from gateway.sign_in_cookie import COOKIE_NAME, SignInCookieStorage
from gateway.visitors import VISITOR, Visitor
from subscription_svc import schema, sign_ins
from subscription_svc.list_texts import name_key
from subscription_svc.sign_ins import SignInKey
from subscription_svc.watchlist_rows import first_watchlist


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
    """All rows of a kind at once: one after the other, thousands of accounts would take minutes."""
    now = datetime.now(UTC)
    keys = [SignInKey(uuid.uuid4().hex, secrets.token_urlsafe(32)) for _ in lists]
    every = [{"account_id": key.account_id, "create_time": now} for key in keys]
    # No password: nobody signs in by one here, and hashing is meant to be slow.
    account = {"password_hash": "", "credentials_version": 1, "administrator": False}
    sign_in = {
        "last_used_time": now,
        "expire_time": now + sign_ins.LIFETIME,
        "remembered": False,
        "address": "127.0.0.1",
        "user_agent": "",
    }
    firsts = [first_watchlist(key.account_id) for key in keys]
    emails = [f"reader{number}@example.org" for number in range(len(keys))]
    rows: dict[Table, list[dict[str, object]]] = {
        schema.accounts: [
            {**one, **account, "email": email, "email_key": email}
            for one, email in zip(every, emails, strict=True)
        ],
        schema.sign_ins: [
            {**one, **sign_in, "sign_in_hash": sign_ins.hash_of(key.sign_in_id)}
            for one, key in zip(every, keys, strict=True)
        ],
        schema.watchlists: [
            {"account_id": key.account_id, "name_key": name_key(first.name), **asdict(first)}
            for key, first in zip(keys, firsts, strict=True)
        ],
        schema.subscriptions: [
            {**one, "list_id": first.list_id, "symbol": symbol, "position": place, "note": ""}
            for one, first, symbols in zip(every, firsts, lists, strict=True)
            for place, symbol in enumerate(symbols)
        ],
    }
    for table, values in rows.items():
        connection.execute(table.insert(), values)
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
