"""The symbol page: what may come, why, what was said before, and what it was worth."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from foretick_rpc.symbols import SYMBOL_RULE, parse_symbol
from gateway.access import own_subscriptions, require_sign_in
from gateway.backends import BACKENDS, Backends
from gateway.boarding import BOARD, POLL
from gateway.charts import Bar, interval_bar, interval_end, signed_bars
from gateway.csrf import CSRF
from gateway.forms import query_text
from gateway.gathering import attempt, similar
from gateway.keeping import PARTS
from gateway.languages import _, spoken
from gateway.model import Forecast, Market, Quote, Reason, SignInKey, Subscriptions
from gateway.pages import json_page, part, wants_json
from gateway.problems import RequestError
from gateway.record_json import entries_json, failure_json, history_json, outlook_json, quote_json
from gateway.record_model import Entries, Explanation, History, Interval, Outlook
from gateway.record_wording import chart_labels, chart_text, feature
from gateway.records import HORIZONS, RECORDS, SHOWN_ENTRIES
from gateway.settings import SETTINGS
from gateway.shared_pages import shared_page
from gateway.watchlist import NOT_ANSWERED, OTHER_MARKET, Row, market_json, percent_move

# What has not come by then is pending on a page, and comes later.
PATIENCE_SECONDS = 0.5
_UNKNOWN = ("SYMBOL_NOT_FOUND", "SYMBOL_MALFORMED")


@dataclass(frozen=True, slots=True)
class Priced:
    """The latest price of a symbol, and its market; an old one may stand beside the reason."""

    quote: Quote | None
    reason: Reason | None
    market_id: str
    market: Market | None
    market_time: datetime | None


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of a symbol; a Reason stands for an answer that failed."""

    symbol: str
    subscriptions: Subscriptions
    priced: Priced
    outlook: Outlook | Reason
    history: History | Reason
    entries: Entries | Reason

    @property
    def quote(self) -> Quote | None:
        """The latest price."""
        return self.priced.quote


async def symbol_page(request: web.Request) -> web.Response:
    """GET /symbols/{symbol}."""
    key = await require_sign_in(request)
    backends = request.app[BACKENDS]
    horizon, before = asked_horizon(request), query_text(request, "before")
    try:
        symbol = parse_symbol(request.match_info["symbol"])
    except ValueError:
        raise await _unknown(backends, request.match_info["symbol"], SYMBOL_RULE) from None
    known = await _gather(request, key, symbol, horizon, before)
    reason = known.priced.reason
    if reason is not None and reason.reason in _UNKNOWN:
        raise await _unknown(backends, symbol, reason.message)
    if wants_json(request):
        return json_page(_as_json(request, key, known, horizon))
    quote, priced = known.quote, known.priced
    followed = symbol in known.subscriptions.symbols
    market_time = priced.market_time.isoformat() if priced.market_time else ""
    return shared_page(
        request,
        "symbol.html",
        made_of=(
            *_made_of(known),
            quote,
            reason,
            priced.market,
            market_time,
        ),
        context=lambda: {
            "symbol": symbol,
            "name": quote.name if quote else symbol,
            "followed": followed,
            "quote": quote,
            "change": percent_move(quote.price, quote.previous_close) if quote else None,
            "price_reason": reason,
            "market": priced.market,
            "market_time": priced.market_time,
            "body": _body(request, known, horizon, before),
        },
        account=known.subscriptions.account,
        csrf_token=request.app[CSRF].of_sign_in(key.sign_in_id),
        kind="followed" if followed else "",
    )


async def history(request: web.Request) -> web.Response:
    """GET /symbols/{symbol}/history: all daily bars as columns, for charts and programs."""
    await require_sign_in(request)
    try:
        symbol = parse_symbol(request.match_info["symbol"])
    except ValueError:
        raise RequestError(404, "SYMBOL_NOT_FOUND", SYMBOL_RULE, "symbol") from None
    _price, bars = await _priced_with_history(request.app, symbol)
    if isinstance(bars, Reason):
        status = 404 if bars.reason in _UNKNOWN else 503
        raise RequestError(status, bars.reason, bars.message, "symbol")
    etag = f'"{bars.version}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.query.get("v") == bars.version:
        headers["Cache-Control"] = "private, max-age=31536000, immutable"
    if any(f'"{each.value}"' == etag for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return web.Response(body=bars.packed, content_type="application/json", headers=headers)


def asked_horizon(request: web.Request) -> int:
    """The horizon that the address asks for; raises `RequestError` 400 for one that is none."""
    asked = query_text(request, "horizon")
    if asked not in {"", *map(str, HORIZONS)}:
        raise RequestError(400, "HORIZON_UNKNOWN", "horizon must be 1, 5 or 20.", "horizon")
    return int(asked or 1)


async def _gather(
    request: web.Request, key: SignInKey, symbol: str, horizon: int, before: str
) -> Known:
    records = request.app[RECORDS]
    subscriptions, (priced, bars), outlook = await asyncio.gather(
        own_subscriptions(request, key),
        _priced_with_history(request.app, symbol),
        attempt(records.outlook(symbol, horizon)),
    )
    # Prices of different markets never mix, not even for the moment of a change.
    if isinstance(outlook, Outlook) and priced.market_id not in ("", outlook.market_id):
        outlook = OTHER_MARKET
    entries: Entries | Reason
    if isinstance(outlook, Reason):
        entries = outlook
    elif before:
        entries = await attempt(records.entries(symbol, horizon, before))
    else:
        entries = outlook.ledger
    return Known(symbol, subscriptions, priced, outlook, bars, entries)


async def _priced_with_history(
    app: web.Application, symbol: str
) -> tuple[Priced, History | Reason]:
    priced = await _priced(app, symbol)
    if priced.quote is None:
        return priced, priced.reason or NOT_ANSWERED
    next_date = _next_date(priced.quote)
    return priced, await attempt(app[RECORDS].history(symbol, next_date))


async def _priced(app: web.Application, symbol: str) -> Priced:
    """Read a price from the board; what is not there is asked for, and there from then on."""
    board, is_on = app[BOARD], app[SETTINGS].board == "on"
    if is_on and symbol in board.entries:
        entries = board.look([symbol])
        give_up = time.monotonic() + PATIENCE_SECONDS
        await app[POLL].look(give_up)
        await board.answered(entries, give_up)
        around, row = app[POLL].known, board.row(entries[0])
        reason = row.price_reason or around.price_reason
        return Priced(row.quote, reason, board.quotes.market_id, around.market, around.market_time)
    backends = app[BACKENDS]
    quotes = await attempt(backends.quotes([symbol]))
    market_id = "" if isinstance(quotes, Reason) else quotes.market_id
    market = await attempt(backends.market(market_id or None))
    known_market = market if isinstance(market, Market) else None
    if isinstance(quotes, Reason):
        return Priced(None, quotes, "", known_market, None)
    quote = quotes.found.get(symbol)
    # Only what there is: else whoever tries symbols out would fill the board.
    if is_on and quote is not None:
        board.look([symbol])
    return Priced(quote, quotes.missing.get(symbol), market_id, known_market, quotes.market_time)


async def _unknown(backends: Backends, asked: str, message: str) -> RequestError:
    error = RequestError(404, "SYMBOL_NOT_FOUND", message[:500], "symbol")
    error.suggestions = [
        {"symbol": each.symbol, "name": each.name} for each in await similar(backends, asked[:100])
    ]
    return error


def _next_date(quote: Quote) -> str:
    return quote.next_session.date if quote.next_session else ""


def _as_json(request: web.Request, key: SignInKey, known: Known, horizon: int) -> dict[str, Any]:
    priced, outlook = known.priced, known.outlook
    bars, entries = known.history, known.entries
    nothing = Outlook("", (), None, None, None, None, Entries("", (), ""))
    told = outlook_json(outlook if isinstance(outlook, Outlook) else nothing)
    if isinstance(outlook, Reason):
        told["forecastReason"] = failure_json(outlook)
    return {
        "symbol": known.symbol,
        "quote": quote_json(priced.quote) if priced.quote and not priced.reason else None,
        "priceReason": failure_json(priced.reason),
        **told,
        "horizon": horizon,
        "ledger": entries_json(entries) if isinstance(entries, Entries) else None,
        "ledgerReason": failure_json(entries),
        "history": history_json(bars) if isinstance(bars, History) else None,
        "historyReason": failure_json(bars),
        "market": market_json(priced.market, priced.market_time) if priced.market else None,
        "followed": known.symbol in known.subscriptions.symbols,
        "email": known.subscriptions.account.email,
        "csrf_token": request.app[CSRF].of_sign_in(key.sign_in_id),
    }


def _body(request: web.Request, known: Known, horizon: int, before: str) -> Any:
    """What is the same for everybody: rendered once for all who ask while nothing changes."""
    key = ("symbol", known.symbol, spoken().code, horizon, before)
    return request.app[PARTS].get(
        key, _made_of(known), lambda: part(request, "_symbol_body.html", **_shown(known, horizon))
    )


def _made_of(known: Known) -> tuple[object, ...]:
    bars, quote = known.history, known.quote
    version = bars.version if isinstance(bars, History) else bars
    return known.outlook, known.entries, version, _next_date(quote) if quote else "-"


@dataclass(frozen=True, slots=True)
class ShownForecast:
    """A forecast with its band on the scale that the horizons share; moves are in percent."""

    forecast: Forecast
    band: tuple[float, float] | None
    moves: Interval | None
    expected_move: float | None
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class ShownPart:
    """One bar of the reasons."""

    words: str
    value: float
    bar: Bar
    total: bool = False


def _shown(known: Known, horizon: int) -> dict[str, Any]:
    outlook = known.outlook if isinstance(known.outlook, Outlook) else None
    bars = known.history if isinstance(known.history, History) else None
    entries = known.entries if isinstance(known.entries, Entries) else None
    quote = known.quote
    forecasts, end = shown_forecasts(outlook.forecasts if outlook else ())
    decimals = quote.decimals if quote else forecasts[0].forecast.decimals if forecasts else 2
    listed = entries.entries[:SHOWN_ENTRIES] if entries else ()
    is_cut = entries is not None and len(entries.entries) > SHOWN_ENTRIES
    next_session = quote.next_session if quote else None
    is_old = (
        next_session and forecasts and next_session.date != forecasts[0].forecast.target_session
    )
    return {
        "symbol": known.symbol,
        "horizon": horizon,
        "decimals": decimals,
        "outlook_reason": known.outlook if isinstance(known.outlook, Reason) else None,
        "forecasts": forecasts,
        "scale_end": end,
        "missing": outlook.missing if outlook else None,
        "updating": next_session.date if next_session and is_old else None,
        "live": outlook.live if outlook else None,
        "backtest": outlook.backtest if outlook else None,
        "why": shown_reasons(outlook.explanation) if outlook and outlook.explanation else None,
        "entries": listed,
        "entries_reason": known.entries if isinstance(known.entries, Reason) else None,
        "next_page": str(listed[-1].number) if is_cut else entries.next_page if entries else "",
        "history": bars,
        "history_reason": known.history if isinstance(known.history, Reason) else None,
        "chart_text": chart_text(known.symbol, bars) if bars else "",
        "chart_bands": _chart_bands(forecasts, entries, bars),
        "labels": chart_labels(),
        "instrument": quote or (bars.instrument if bars else None),
        "next_session": next_session,
    }


def shown_forecasts(forecasts: tuple[Forecast, ...]) -> tuple[list[ShownForecast], float]:
    """Place the bands of all horizons on one scale; also its end, in percent."""
    rows = [(each, Row(each.symbol, None, None, each, None)) for each in forecasts]
    moves = [_moves(row) for _forecast, row in rows]
    end = interval_end(each for each in moves if each)
    return [
        ShownForecast(
            forecast,
            row.band,
            move,
            row.expected_move,
            interval_bar(move, end) if move else None,
        )
        for (forecast, row), move in zip(rows, moves, strict=True)
    ], end


def _moves(row: Row) -> Interval | None:
    if row.band_moves is None or row.median_move is None:
        return None
    return Interval(row.median_move, *row.band_moves)


def shown_reasons(why: Explanation) -> dict[str, Any]:
    """Bars of what adds up to the expected size of the move, and that size in units of σ."""
    words = [
        (_("Where it starts from, for any stock"), why.bias),
        *((feature(each.feature), each.part) for each in why.contributions),
        (_("Everything else that it looks at"), why.others),
        (_("Together"), why.prediction),
    ]
    bars = signed_bars([value for _words, value in words])
    parts = [
        ShownPart(text, value, bar, total=place == len(words) - 1)
        for place, ((text, value), bar) in enumerate(zip(words, bars, strict=True))
    ]
    return {"parts": parts, "size": why.size}


def _chart_bands(
    forecasts: list[ShownForecast], entries: Entries | None, bars: History | None
) -> dict[str, Any]:
    """What the chart draws over the candles; moves are in percent of a close."""
    return {
        "next": list(bars.next_dates) if bars else [],
        "ahead": [
            {
                "asOf": each.forecast.as_of_session,
                "target": each.forecast.target_session,
                "low": each.moves.low,
                "median": each.moves.value,
                "high": each.moves.high,
            }
            for each in forecasts
            if each.moves
        ],
        "past": [
            {
                "asOf": each.as_of_session,
                "target": each.target_session,
                "low": each.band_moves[0],
                "high": each.band_moves[1],
                "held": each.held,
            }
            for each in (entries.entries if entries else ())
            if each.band_moves and each.horizon == 1
        ],
    }
