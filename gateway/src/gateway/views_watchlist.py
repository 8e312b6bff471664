"""The watchlist: what it shows, adding to it and removing from it."""

import asyncio
import time

from aiohttp import web

from gateway.access import require_sign_in
from gateway.backends import BACKENDS, Backends
from gateway.bandbar import band_bar, scale_end
from gateway.csrf import CSRF
from gateway.forms import read_form
from gateway.gathering import Gathered, gather, similar
from gateway.model import Forecasts, Quotes, Reason, SignInKey, Subscriptions, Training
from gateway.pages import html_page, json_page, see_other, wants_json
from gateway.problems import RequestError, SignedOutError
from gateway.redirects import HOME
from gateway.watchlist import (
    Row,
    market_json,
    reason_json,
    row_json,
    training_json,
    watchlist_rows,
)

ADDING_SECONDS = 6.0
PENDING_PAUSE_SECONDS = 0.1
_STATUS_OF_MISSING = {
    "SYMBOL_NOT_FOUND": 404,
    "HISTORY_PENDING": 503,
    "SOURCE_RATE_LIMITED": 503,
    "SOURCE_UNREACHABLE": 503,
    "SOURCE_NONSENSE": 503,
}


async def subscribe_list(request: web.Request) -> web.Response:
    """GET /subscribeList."""
    return await _watchlist(request, await require_sign_in(request))


async def add(request: web.Request) -> web.Response:
    """POST /subscriptions."""
    key = await require_sign_in(request)
    entered = (await read_form(request)).text("symbol")
    backends = request.app[BACKENDS]
    try:
        symbol = await _known_symbol(backends, entered)
        created = await backends.add_subscription(key, symbol)
    except RequestError as error:
        return await _refused(request, key, error, entered)
    if wants_json(request):
        return json_page({"symbol": symbol, "created": created}, status=201 if created else 200)
    return see_other(HOME)


async def remove(request: web.Request) -> web.Response:
    """POST /subscriptions/{symbol}/delete."""
    key = await require_sign_in(request)
    symbol = request.match_info["symbol"]
    try:
        await request.app[BACKENDS].remove_subscription(key, symbol)
    except RequestError as error:
        return await _refused(request, key, error, "")
    return (
        json_page({"symbol": symbol, "removed": True}) if wants_json(request) else see_other(HOME)
    )


async def _known_symbol(backends: Backends, entered: str) -> str:
    """Return the symbol as the market spells it; raises `RequestError` if it can't be followed."""
    try:
        answer = await _answer_at_last(backends, entered)
    except RequestError as error:
        if error.status >= 500:
            error.message += " Nothing was stored."
        raise
    for quote in answer.found.values():
        return quote.symbol
    reason = next(iter(answer.missing.values()))
    status = _STATUS_OF_MISSING.get(reason.reason, 400)
    message = reason.message[:500] + (" Nothing was stored." if status >= 500 else "")
    refused = RequestError(status, reason.reason, message, "symbol")
    if status == 404:
        refused.suggestions = [
            {"symbol": each.symbol, "name": each.name}
            for each in await similar(backends, entered.strip())
        ]
    raise refused


async def _answer_at_last(backends: Backends, entered: str) -> Quotes:
    """Ask for the symbol's quote; where its history has to be fetched first, wait for that."""
    give_up = time.monotonic() + ADDING_SECONDS
    while True:
        answer = await backends.quotes([entered])
        is_pending = any(each.reason == "HISTORY_PENDING" for each in answer.missing.values())
        if not is_pending or time.monotonic() > give_up:
            return answer
        await asyncio.sleep(PENDING_PAUSE_SECONDS)


async def _refused(
    request: web.Request, key: SignInKey, error: RequestError, entered: str
) -> web.Response:
    """Show the watchlist again with the error beside the field."""
    is_outage = error.status >= 500 and error.field is None
    if isinstance(error, SignedOutError) or is_outage:
        raise error
    error.field = error.field or "symbol"
    if wants_json(request):
        raise error
    return await _watchlist(request, key, error=error, entered=entered[:64])


async def _watchlist(
    request: web.Request, key: SignInKey, *, error: RequestError | None = None, entered: str = ""
) -> web.Response:
    backends = request.app[BACKENDS]
    subscriptions = await backends.subscriptions(key)
    gathered = await gather(backends, subscriptions.symbols)
    rows = watchlist_rows(subscriptions.symbols, gathered.quotes, gathered.forecasts)
    token = request.app[CSRF].of_sign_in(key.sign_in_id)
    if wants_json(request):
        return _as_json(subscriptions, gathered, rows, token)
    end = scale_end(rows)
    return html_page(
        request,
        "subscription.html",
        status=error.status if error else 200,
        email=subscriptions.account.email,
        csrf_token=token,
        rows=[(row, band_bar(row, end)) for row in rows],
        scale_end=end,
        market=gathered.market,
        market_time=gathered.quotes.market_time if isinstance(gathered.quotes, Quotes) else None,
        price_reason=_reason(gathered.quotes),
        forecast_reason=_reason(gathered.forecasts),
        training=_training(gathered.forecasts),
        offered=gathered.offered,
        error=error,
        entered=entered,
    )


def _training(forecasts: Forecasts | Reason) -> Training | None:
    return forecasts.training if isinstance(forecasts, Forecasts) else None


def _as_json(
    subscriptions: Subscriptions, gathered: Gathered, rows: list[Row], token: str
) -> web.Response:
    quotes, market = gathered.quotes, gathered.market
    market_time = quotes.market_time if isinstance(quotes, Quotes) else None
    return json_page(
        {
            "subs": [row_json(row) for row in rows],
            "market": market_json(market, market_time) if market else None,
            "priceReason": reason_json(_reason(quotes)),
            "forecastReason": reason_json(_reason(gathered.forecasts)),
            "training": training_json(_training(gathered.forecasts)),
            "email": subscriptions.account.email,
            "csrf_token": token,
        }
    )


def _reason(answer: object) -> Reason | None:
    return answer if isinstance(answer, Reason) else None
