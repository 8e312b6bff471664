"""How numbers, dates and codes are written on pages."""

from datetime import date, datetime, timedelta

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EM DASH}"

STATES = {
    "pre": "before the open",
    "open": "trading",
    "post": "after the close",
    "closed": "closed",
    "halted": "halted",
}
FORECASTERS = {"scale_model": "model", "no_learning": "no-learning forecaster"}


def price(value: float | None, decimals: int = 2) -> str:
    """Write a price with its decimals and thousands apart, "1,234.50"; a dash for None."""
    return DASH if value is None else f"{value:,.{max(0, min(decimals, 10))}f}".replace("-", MINUS)


def percent(value: float | None, decimals: int = 2) -> str:
    """Write a move with its sign, "+0.52 %"; a dash for None."""
    if value is None:
        return DASH
    written = f"{value:+.{decimals}f}"
    if float(written) == 0:
        written = written[1:]  # nothing moved: neither up nor down
    return f"{written.replace('-', MINUS)}\N{NO-BREAK SPACE}%"


def time_left(remaining: timedelta | None) -> str:
    """Write how long something takes yet, ", about 2 minutes left"; nothing where unknown."""
    if remaining is None:
        return ""
    seconds = max(remaining.total_seconds(), 1)
    if seconds < 90:
        return f", about {seconds:.0f} second{'s' if round(seconds) != 1 else ''} left"
    return f", about {seconds / 60:.0f} minutes left"


def direction(value: float | None, decimals: int = 2) -> str:
    """Return "up", "down" or "flat", by what is written."""
    rounded = 0.0 if value is None else round(value, decimals)
    return "up" if rounded > 0 else "down" if rounded < 0 else "flat"


def plain(value: float) -> str:
    """Write a number without needless zeros, "1.5", "2"."""
    return f"{value:g}"


def day(iso_date: str) -> str:
    """Write an ISO date with its weekday, "Thu 2 Jan 2020"; what is no date stays as it is."""
    try:
        parsed = date.fromisoformat(iso_date)
    except ValueError:
        return iso_date
    return f"{parsed:%a} {parsed.day} {parsed:%b %Y}"


def instant(moment: datetime) -> str:
    """Write an instant in UTC, "31 Dec 2019, 21:00 UTC"."""
    return f"{moment.day} {moment:%b %Y}, {moment:%H:%M} UTC"
