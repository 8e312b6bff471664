"""What the watchlist is measured against, each a server of its own: `python -m bench.yardsticks`.

`hello` answers one word, the least that aiohttp can do. `blog` does all its work inside of the
page's request, as tutorials do. `one-process` renders the gateway's page with what it has in
memory and in its own database, without a remote call.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp_jinja2
import aiohttp_session
import jinja2
from aiohttp import web
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from foretick_rpc.database import open_database
from foretick_rpc.settings import load_settings
from gateway.app import create_app
from gateway.backends import BACKENDS, Backends
from gateway.model import (
    Account,
    Forecasts,
    Market,
    Quotes,
    SignInKey,
    Subscription,
    Subscriptions,
    Watchlist,
)
from gateway.settings import SETTINGS, GatewaySettings
from subscription_svc import sign_ins, subscriptions
from subscription_svc.admission import Admission

BLOG_SYMBOLS = 20
BLOG_ROWS = 1250  # five years of sessions
BLOG_TREES = 100


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


def hello_app() -> web.Application:
    """One word, without middleware."""
    app = web.Application()
    app.router.add_get("/", _hello)
    return app


class _Base(DeclarativeBase):
    pass


class _Reader(_Base):
    __tablename__ = "readers"
    email: Mapped[str] = mapped_column(primary_key=True)


class _Follow(_Base):
    __tablename__ = "follows"
    reader: Mapped[str] = mapped_column(ForeignKey("readers.email"), primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)


_BLOG_PAGE = """<!doctype html><title>Stocks</title><h1>{{ email }}</h1><table>
{% for row in rows %}
<tr><td>{{ row.symbol }}<td>{{ row.score }}<td>{{ row.price }}<td>{{ row.move }}
{% endfor %}</table>"""


def blog_app(upstream_seconds: float) -> web.Application:
    """Per row of the page, one after the other: train a model, then ask the source for the price.

    The source takes `upstream_seconds` for each answer, and is asked on the event loop.
    """
    engine = create_engine("sqlite://", poolclass=StaticPool)
    _Base.metadata.create_all(engine)
    with Session(engine) as database:
        database.add(_Reader(email="reader@example.org"))
        database.add_all(
            _Follow(reader="reader@example.org", symbol=f"S{number:02}")
            for number in range(BLOG_SYMBOLS)
        )
        database.commit()

    async def sign_in(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        session["email"] = "reader@example.org"
        return web.Response(text="signed in")

    @aiohttp_jinja2.template("page.html")
    async def page(request: web.Request) -> dict[str, object]:
        session = await aiohttp_session.get_session(request)
        with Session(engine) as database:
            query = select(_Follow.symbol).where(_Follow.reader == session["email"])
            symbols = database.scalars(query).all()
        loop = asyncio.get_running_loop()
        rows = []
        for symbol in symbols:
            score = await loop.run_in_executor(None, _train, symbol)
            time.sleep(upstream_seconds)  # noqa: ASYNC251 - the source, asked as tutorials ask it
            price, before = 100 + score, 100.0
            move = round(100 * (price - before) / before, 2)
            rows.append({"symbol": symbol, "score": score, "price": price, "move": move})
        return {"email": session["email"], "rows": rows}

    app = web.Application()
    aiohttp_session.setup(app, EncryptedCookieStorage(Fernet(Fernet.generate_key())))
    aiohttp_jinja2.setup(app, loader=jinja2.DictLoader({"page.html": _BLOG_PAGE}))
    app.add_routes([web.get("/sign-in", sign_in), web.get("/", page)])
    return app


def _train(symbol: str) -> float:
    """Fit one symbol's closes on the day before, and score the last fifth."""
    # Here, since the other yardsticks do without.
    import numpy as np  # noqa: PLC0415
    import xgboost as xgb  # noqa: PLC0415

    stream = np.random.default_rng(int(symbol[1:]))
    features = stream.normal(size=(BLOG_ROWS, 8))
    closes = 100 * np.exp(np.cumsum(stream.normal(0, 0.015, BLOG_ROWS)))
    features[1:, 0] = closes[:-1]
    cut = BLOG_ROWS * 4 // 5
    # One thread is kind to it: with one a core it takes many times as long on a busy machine.
    model = xgb.train(
        {"nthread": 1}, xgb.DMatrix(features[:cut], closes[:cut]), num_boost_round=BLOG_TREES
    )
    missed = closes[cut:] - model.predict(xgb.DMatrix(features[cut:]))
    return round(float(1 - missed.var() / closes[cut:].var()), 4)


class InProcess(Backends):
    """Quotes and forecasts in memory, and subscription-svc's own code on a database beside it."""

    def __init__(
        self,
        lists: subscriptions.Subscriptions,
        quotes: Quotes,
        forecasts: Forecasts,
        market: Market,
    ) -> None:
        self._own_lists = lists
        self._own_quotes, self._own_forecasts, self._own_market = quotes, forecasts, market

    async def subscriptions(self, key: SignInKey, *, fresh: bool = False) -> Subscriptions:  # noqa: ARG002
        """From the database."""
        asked = sign_ins.SignInKey(key.account_id, key.sign_in_id)
        (found,) = await self._own_lists.batch_list([asked])
        if found.caller is None:
            raise RuntimeError(found.error_reason)
        account = found.caller.account
        return Subscriptions(
            Account(account.account_id, account.email, account.create_time, False, None),
            tuple(
                Watchlist(each.list_id, each.name, each.position)
                for each in found.followed.watchlists
            ),
            tuple(
                Subscription(each.symbol, each.list_id, each.note, each.position, each.create_time)
                for each in found.followed.subscriptions
            ),
        )

    async def quotes(self, symbols: Sequence[str]) -> Quotes:  # noqa: ARG002 - it has them all
        """From memory."""
        return self._own_quotes

    async def forecasts(self, symbols: Sequence[str]) -> Forecasts:  # noqa: ARG002
        """From memory."""
        return self._own_forecasts

    async def market(self, market_id: str | None = None) -> Market:  # noqa: ARG002
        """From memory."""
        return self._own_market


def one_process_app(symbols: Sequence[str]) -> web.Application:
    """The gateway's own page; what the services know of `symbols` is asked once, at the start."""
    app = create_app(load_settings(GatewaySettings))

    async def in_process(app: web.Application) -> AsyncIterator[None]:
        services = app[BACKENDS]
        url = app[SETTINGS].sqlite_url("subscription.db")
        async with open_database(url, "subscription_svc") as database:
            admission = Admission(database, _now)
            app[BACKENDS] = InProcess(
                subscriptions.Subscriptions(admission, _now),
                await services.quotes(symbols),
                await services.forecasts(symbols),
                await services.market(),
            )
            async with _in_background(admission.run()):
                yield

    app.cleanup_ctx.append(in_process)
    return app


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


async def serve(app: web.Application) -> None:
    """Serve on a free port, which is printed, until standard input ends."""
    runner = web.AppRunner(app, access_log=None)  # as the gateway does
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main(name: str, *arguments: str) -> None:
    """Serve the yardstick of that name."""
    if name == "hello":
        app = hello_app()
    elif name == "blog":
        app = blog_app(float(arguments[0]))
    else:
        app = one_process_app(arguments)
    asyncio.run(serve(app))


if __name__ == "__main__":
    main(*sys.argv[1:])
