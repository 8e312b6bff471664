"""How numbers, dates and codes are written on pages."""

from datetime import date, datetime, timedelta
from functools import cache

from babel.dates import format_date, format_datetime

from gateway.languages import N_, Language, _, ngettext, spoken

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EM DASH}"

STATES = {
    "pre": N_("before the open"),
    "open": N_("trading"),
    "post": N_("after the close"),
    "closed": N_("closed"),
    "halted": N_("halted"),
}
# What the page after a change says, by what its address says is done.
DONE = {
    "email": N_("The e-mail address is changed, and all other devices are signed out."),
    "password": N_("The password is changed, and all other devices are signed out."),
    "reset": N_("The new password is set. Sign in with it."),
    "deleted": N_("The account is deleted, with everything that was in it."),
    "revoked": N_("The device is signed out."),
    "revoked-others": N_("All other devices are signed out."),
    "disabled": N_("The account is disabled, and all its devices are signed out."),
    "enabled": N_("The account can sign in again."),
    "withdrawn": N_("The invitation is withdrawn."),
}
REGISTRATIONS = {
    "open": N_("Whoever comes can register."),
    "invitation": N_("Whoever has an invitation can register."),
    "closed": N_("Nobody can register."),
}
EVENTS = {
    "registered": N_("Registered"),
    "signed_in": N_("Signed in"),
    "sign_in_failed": N_("Sign-in refused"),
    "signed_out": N_("Signed out"),
    "devices_revoked": N_("Devices signed out"),
    "password_wrong": N_("Wrong password for a change"),
    "password_changed": N_("Password changed"),
    "email_changed": N_("E-mail address changed"),
    "reset_requested": N_("Link to a new password asked for"),
    "password_reset": N_("New password set by a link"),
    "exported": N_("Data downloaded"),
    "disabled": N_("Disabled by an administrator"),
    "enabled": N_("Enabled by an administrator"),
    "made_administrator": N_("Made an administrator"),
    "invited": N_("Somebody invited"),
    "invitation_withdrawn": N_("Invitation withdrawn"),
    "reset_link_made": N_("Link to somebody's new password made"),
}
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
# Each also names those below it, to be served what they are served.
_BROWSERS = (
    ("Firefox/", "Firefox"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
FORECASTERS = {"scale_model": N_("model"), "no_learning": N_("no-learning forecaster")}


def device(user_agent: str) -> str:
    """Name a browser by what it says of itself, "Firefox on Linux"; else by its first word."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), "")
    if browser:
        both = _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
        return both if system else browser
    return user_agent.strip().partition(" ")[0][:40] or _("Unknown device")


def event(kind: str) -> str:
    """Say what happened, by the kind of a line of the log."""
    return _(EVENTS[kind]) if kind in EVENTS else kind.replace("_", " ")


def price(value: float | None, decimals: int = 2) -> str:
    """Write a price with its decimals and thousands apart, "1,234.50"; a dash for None."""
    return DASH if value is None else _local(f"{value:,.{max(0, min(decimals, 10))}f}")


def percent(value: float | None, decimals: int = 2) -> str:
    """Write a move with its sign, "+0.52 %"; a dash for None."""
    if value is None:
        return DASH
    written = f"{value:+.{decimals}f}"
    if float(written) == 0:
        written = written[1:]  # nothing moved: neither up nor down
    return f"{_local(written)}\N{NO-BREAK SPACE}%"


def count(value: int) -> str:
    """Write a count with its thousands apart, "1,000"."""
    return _local(f"{value:,d}")


def share(value: float | None, decimals: int = 0) -> str:
    """Write a share of 1 in percent, "79.6 %"; a dash for None."""
    if value is None:
        return DASH
    return f"{_local(f'{100 * value:.{decimals}f}')}\N{NO-BREAK SPACE}%"


def percent_places(step: float) -> int:
    """How many decimals the percents of an axis with such steps need."""
    return next((places for places in range(4) if round(100 * step, places) == 100 * step), 4)


def decimal(value: float, decimals: int = 2) -> str:
    """Write a number with so many decimals, "2.6"."""
    return _local(f"{value:.{decimals}f}")


def signed(value: float, decimals: int = 2) -> str:
    """Write a number with its sign, "+0.012"."""
    return _local(f"{value:+.{decimals}f}")


def _local(written: str) -> str:
    """Put the signs of the language into a number as Python writes it."""
    return written.translate(_signs(spoken()))


@cache
def _signs(language: Language) -> dict[int, str]:
    symbols = language.locale.number_symbols["latn"]
    # CLDR has a hyphen for the minus of most languages, which is no sign to read a table by.
    return str.maketrans({",": symbols["group"], ".": symbols["decimal"], "-": MINUS})


def time_left(remaining: timedelta | None) -> str:
    """Write how long something takes yet, ", about 2 minutes left"; nothing where unknown."""
    if remaining is None:
        return ""
    seconds = max(remaining.total_seconds(), 1)
    if seconds < 90:
        count = round(seconds)
        written = ngettext(", about %(count)d second left", ", about %(count)d seconds left", count)
    else:
        count = round(seconds / 60)
        written = ngettext(", about %(count)d minute left", ", about %(count)d minutes left", count)
    return written % {"count": count}


def direction(value: float | None, decimals: int = 2) -> str:
    """Return "up", "down" or "flat", by what is written."""
    rounded = 0.0 if value is None else round(value, decimals)
    return "up" if rounded > 0 else "down" if rounded < 0 else "flat"


def plain(value: float) -> str:
    """Write a number without needless zeros, "1.5", "2"."""
    return _local(f"{value:g}")


def day(iso_date: str) -> str:
    """Write an ISO date with its weekday, "Thu 2 Jan 2020"; what is no date stays as it is."""
    try:
        parsed = date.fromisoformat(iso_date)
    except ValueError:
        return iso_date
    return format_date(parsed, spoken().day_pattern, locale=spoken().locale)


def date_of(moment: datetime) -> str:
    """Write the date of an instant in UTC, "31 Dec 2019"."""
    return format_date(moment, spoken().date_pattern, locale=spoken().locale)


def instant(moment: datetime) -> str:
    """Write an instant in UTC, "31 Dec 2019, 21:00 UTC"."""
    return format_datetime(moment, spoken().instant_pattern, locale=spoken().locale)
