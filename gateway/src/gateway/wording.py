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
# What the page after a change says, by what its address says is done.
DONE = {
    "email": "The e-mail address is changed, and all other devices are signed out.",
    "password": "The password is changed, and all other devices are signed out.",
    "reset": "The new password is set. Sign in with it.",
    "deleted": "The account is deleted, with everything that was in it.",
    "revoked": "The device is signed out.",
    "revoked-others": "All other devices are signed out.",
    "disabled": "The account is disabled, and all its devices are signed out.",
    "enabled": "The account can sign in again.",
    "withdrawn": "The invitation is withdrawn.",
}
REGISTRATIONS = {
    "open": "Whoever comes can register.",
    "invitation": "Whoever has an invitation can register.",
    "closed": "Nobody can register.",
}
EVENTS = {
    "registered": "Registered",
    "signed_in": "Signed in",
    "sign_in_failed": "Sign-in refused",
    "signed_out": "Signed out",
    "devices_revoked": "Devices signed out",
    "password_wrong": "Wrong password for a change",
    "password_changed": "Password changed",
    "email_changed": "E-mail address changed",
    "reset_requested": "Link to a new password asked for",
    "password_reset": "New password set by a link",
    "exported": "Data downloaded",
    "disabled": "Disabled by an administrator",
    "enabled": "Enabled by an administrator",
    "made_administrator": "Made an administrator",
    "invited": "Somebody invited",
    "invitation_withdrawn": "Invitation withdrawn",
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
FORECASTERS = {"scale_model": "model", "no_learning": "no-learning forecaster"}


def device(user_agent: str) -> str:
    """Name a browser by what it says of itself, "Firefox on Linux"; else by its first word."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), "")
    if browser:
        return f"{browser} on {system}" if system else browser
    return user_agent.strip().partition(" ")[0][:40] or "Unknown device"


def event(kind: str) -> str:
    """Say what happened, by the kind of a line of the log."""
    return EVENTS.get(kind, kind.replace("_", " "))


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


def date_of(moment: datetime) -> str:
    """Write the date of an instant in UTC, "31 Dec 2019"."""
    return f"{moment.day} {moment:%b %Y}"


def instant(moment: datetime) -> str:
    """Write an instant in UTC, "31 Dec 2019, 21:00 UTC"."""
    return f"{date_of(moment)}, {moment:%H:%M} UTC"
