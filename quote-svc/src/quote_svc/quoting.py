"""The quote of a symbol from what is stored of it, and whether it should be newer than it is."""

from datetime import UTC, datetime, timedelta

from quote_svc.market import (
    Instrument,
    InstrumentKind,
    PriceSource,
    Quote,
    Session,
    SessionState,
    date_of,
    epoch_day,
    microseconds,
)
from quote_svc.sessions import FIRST_TRADE, Moment, SessionCalendar, session_at
from quote_svc.stored_symbol import StoredSymbol, TailBar

# How many confirmations, one a day at most, make "not found" more than a bad day of the source.
CONFIRMED_DAYS = 3


def instrument_of(stored: StoredSymbol, calendar: SessionCalendar) -> Instrument:
    """The instrument in the market's words."""
    source = stored.instrument
    return Instrument(
        symbol=source.symbol,
        display_name=source.display_name,
        exchange_code=calendar.code,
        currency_code=source.currency_code,
        price_decimals=source.price_decimals,
        kind=source.kind,
    )


def quote_of(
    stored: StoredSymbol, calendar: SessionCalendar, at: Moment, patience: timedelta
) -> Quote:
    """The latest price; raises LookupError where there is none at all.

    It is stale where the source was not heard for longer than `patience` while it should be.
    All of it follows from what is stored and from the time, so that replicas agree on it and on
    its version: the sum of the stored one and the last instant at which time changed anything,
    so that of two quotes of one instant that with the later row has the higher version.

    The final bar of a session takes the place of its last quote. The previous close is that of
    the session just before, or unset: never that of an earlier one.
    """
    last = stored.tail[-1] if stored.tail else None
    latest = stored.quote
    session = None if latest is None else session_at(calendar, latest.as_of_time)
    if latest is not None and session is not None and _is_later(session, last):
        price, as_of, volume = latest.price, latest.as_of_time, latest.volume
        low, high = latest.day_low, latest.day_high
        previous = _close_before(calendar, session.open_time, last)
        previous = latest.previous_close if previous is None else previous
        day, source = session.session_date, PriceSource.LATEST_TRADE
    elif last is not None:
        price, as_of, volume = last.close, datetime.fromtimestamp(last.close_seconds, UTC), None
        low, high, volume = last.low, last.high, last.volume
        before = stored.tail[-2] if len(stored.tail) > 1 else None
        day, source = date_of(last.day), PriceSource.FINAL_BAR
        own = calendar.session_on(day)
        opened = as_of if own is None else own.open_time
        previous = _close_before(calendar, opened, before)
    else:
        raise LookupError(stored.instrument.symbol)
    is_silent = at.now - stored.heard_at > patience
    reason = _stale_reason(stored, at, epoch_day(day), is_silent=is_silent)
    return Quote(
        instrument=instrument_of(stored, calendar),
        price=price,
        as_of_time=as_of,
        previous_close=previous,
        session_date=day,
        state=_state(stored, at),
        next_session=at.next_session,
        day_low=low,
        day_high=high,
        volume=volume,
        stale=bool(reason),
        stale_reason=reason,
        version=stored.version + microseconds(at.changed_at) + is_silent,
        source=source,
        recent_closes=stored.recent_closes,
    )


def _state(stored: StoredSymbol, at: Moment) -> SessionState:
    if at.is_open or stored.instrument.kind in (InstrumentKind.STOCK, InstrumentKind.ETF):
        return at.state
    return SessionState.CLOSED


def _is_later(session: Session, last: TailBar | None) -> bool:
    return last is None or epoch_day(session.session_date) > last.day


def _close_before(calendar: SessionCalendar, opened: datetime, bar: TailBar | None) -> float | None:
    """The close of `bar` if it is of the session before the one that opened then."""
    if bar is None:
        return None
    before = calendar.last_closed(opened)
    # Where weekdays are assumed, a day without a bar may have been a holiday.
    fits = calendar.inferred or epoch_day(before.session_date) == bar.day
    return bar.close if fits else None


def _stale_reason(stored: StoredSymbol, at: Moment, day: int, *, is_silent: bool) -> str:
    """Why a quote of the session `day` should be newer; empty where it need not be."""
    if stored.unknown_since is not None and stored.unknown_days >= CONFIRMED_DAYS:
        return f"The source has not known the symbol since {stored.unknown_since.date()}."
    if day < epoch_day(at.last_final.session_date):
        late = f"The source has no price of the session of {at.last_final.session_date} yet."
        return stored.failure or late
    if not at.is_open or stored.instrument.kind is InstrumentKind.FUND:
        return ""
    if is_silent:
        heard = f"{stored.heard_at:%Y-%m-%d %H:%M:%S}"
        return stored.failure or f"Not refreshed since {heard} UTC."
    opened = at.next_session.open_time
    waited = at.now - opened >= FIRST_TRADE
    if waited and day < epoch_day(at.next_session.session_date):
        return "The source has no price of the open session yet."
    return ""
