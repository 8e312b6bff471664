"""The track record: what all forecasts have been worth, and the ledger that they are in."""

import asyncio
from typing import Any

from aiohttp import web
from markupsafe import Markup

from gateway.access import own_account, require_reader
from gateway.backends import BACKENDS
from gateway.charts import calibration_plot, coverage_plot, interval_bar, interval_end
from gateway.csrf import CSRF
from gateway.forms import query_text
from gateway.gathering import attempt
from gateway.keeping import PARTS
from gateway.languages import spoken
from gateway.model import Account, Market, Reason
from gateway.pages import html_page, json_page, part, wants_json
from gateway.problems import SignedOutError
from gateway.record_json import (
    entries_json,
    entry_json,
    failure_json,
    head_json,
    symbol_record_json,
    track_record_json,
)
from gateway.record_model import Entries, SymbolRecord
from gateway.records import BASES, HORIZONS, RECORDS, Standing
from gateway.settings import SETTINGS
from gateway.shared_pages import shared_page
from gateway.views_symbol import asked_horizon
from gateway.watchlist import market_json


async def track_record(request: web.Request) -> web.Response:
    """GET /track-record."""
    horizon, before = asked_horizon(request), query_text(request, "before")
    account, token = await _reader(request)
    records = request.app[RECORDS]
    standing, market = await asyncio.gather(
        attempt(records.standing()), attempt(request.app[BACKENDS].market())
    )
    if isinstance(standing, Reason) or not before:
        entries = standing if isinstance(standing, Reason) else standing.ledger
    else:
        entries = await attempt(records.entries(page=before))
    known_market = market if isinstance(market, Market) else None
    if wants_json(request):
        return json_page({**_as_json(standing, entries, known_market), **_token(token)})
    head = None if isinstance(standing, Reason) else standing.head
    return shared_page(
        request,
        "record.html",
        made_of=(*_made_of(standing), entries, head, known_market),
        context=lambda: {
            "market": known_market,
            "body": _body(request, standing, horizon),
            "entries": entries if isinstance(entries, Entries) else None,
            "entries_reason": entries if isinstance(entries, Reason) else None,
            "head": head,
            "horizon": horizon,
        },
        account=account,
        csrf_token=token,
    )


async def words(request: web.Request) -> web.Response:
    """GET /track-record/words: what every word of these pages means."""
    return html_page(request, "words.html", **_header(*await _reader(request)))


async def ledger_entry(request: web.Request) -> web.Response:
    """GET /ledger/{number}: one forecast for good, by the number of a row that is of it."""
    account, token = await _reader(request)
    number = int(request.match_info["number"])
    entry = await request.app[RECORDS].entry(number)
    if wants_json(request):
        return json_page({"asked": number, **entry_json(entry), **_token(token)})
    header = _header(account, token)
    return html_page(request, "entry.html", **header, entry=entry, number=number)


async def _reader(request: web.Request) -> tuple[Account | None, str | None]:
    """Who reads, and the token of their forms: nobody where all may, and nobody is signed in."""
    key = await require_reader(request)
    if key is not None:
        try:
            account = await own_account(request, key)
        except SignedOutError:
            if not request.app[SETTINGS].public_record:
                raise
        else:
            return account, request.app[CSRF].of_sign_in(key.sign_in_id)
    return None, None


def _header(account: Account | None, token: str | None) -> dict[str, Any]:
    email = account.email if account else None
    return {"account": account, "email": email, "csrf_token": token}


def _token(token: str | None) -> dict[str, str]:
    return {"csrf_token": token} if token else {}


def _as_json(
    standing: Standing | Reason, entries: Entries | Reason, market: Market | None
) -> dict[str, Any]:
    told = standing if isinstance(standing, Standing) else None
    return {
        "records": [track_record_json(each) for each in told.records.values()] if told else None,
        "symbols": told
        and {
            basis: [symbol_record_json(each) for each in found]
            for basis, found in told.symbols.items()
        },
        "recordReason": failure_json(standing),
        "ledger": entries_json(entries) if isinstance(entries, Entries) else None,
        "ledgerReason": failure_json(entries),
        "head": told and head_json(told.head),
        "market": market_json(market, None) if market else None,
    }


def _made_of(standing: Standing | Reason) -> tuple[object, ...]:
    if isinstance(standing, Reason):
        return (standing,)
    return (*standing.records.values(), *standing.symbols.values())


def _body(request: web.Request, standing: Standing | Reason, horizon: int) -> Markup:
    """What was measured: rendered once for all who ask while nothing changes."""
    if isinstance(standing, Reason):
        return part(request, "_record_body.html", reason=standing)
    return request.app[PARTS].get(
        ("record", spoken().code, horizon),
        _made_of(standing),
        lambda: part(request, "_record_body.html", reason=None, **shown(standing, horizon)),
    )


def shown(standing: Standing, horizon: int) -> dict[str, Any]:
    """What the page draws of the track record: plots of one horizon, skills of all."""
    records = standing.records
    intervals = [skill for record in records.values() for skill in record.skills.values()]
    end = interval_end(intervals)
    return {
        "horizon": horizon,
        "horizons": HORIZONS,
        "records": records,
        "chosen": {basis: records[horizon, basis] for basis in BASES},
        "skill_end": end,
        "bars": {
            (record.horizon, record.basis, name): interval_bar(skill, end)
            for record in records.values()
            for name, skill in record.skills.items()
        },
        "plots": {
            basis: {
                "quantiles": calibration_plot(record.quantile_calibration, (0.0, 1.0)),
                "ups": calibration_plot(record.up_calibration),
                "coverage": coverage_plot(record.coverage_path, record.coverage_alarm),
            }
            for basis in BASES
            for record in [records[horizon, basis]]
        },
        "symbols": _symbols(standing),
    }


def _symbols(standing: Standing) -> dict[str, Any]:
    """The records of the symbols by basis: those that are judged, edges first, and the others."""
    judged, young = {}, {}
    for basis, found in standing.symbols.items():
        reviewed = [each for each in found if _is_judged(each)]
        judged[basis] = sorted(reviewed, key=_edges_first)
        others = [each for each in found if not _is_judged(each)]
        young[basis] = sorted(others, key=lambda each: -each.sessions)
    skills = {
        (basis, each.symbol): each.range_skill
        for basis, found in judged.items()
        for each in found
        if each.range_skill
    }
    end = interval_end(skills.values())
    bars = {key: interval_bar(skill, end) for key, skill in skills.items()}
    return {"judged": judged, "young": young, "end": end, "bars": bars}


def _is_judged(record: SymbolRecord) -> bool:
    return record.range is not None and record.range.reviewed > 0


def _edges_first(record: SymbolRecord) -> tuple[bool, bool, str]:
    stands = [each is not None and each.stands for each in (record.direction, record.range)]
    return not stands[0], not stands[1], record.symbol
