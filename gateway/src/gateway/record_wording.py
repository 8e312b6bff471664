"""Words for what forecasts are made of, what came of them, and what they were worth."""

import re

from gateway.languages import N_, _
from gateway.record_model import History
from gateway.wording import count, day, price

BASELINES = {
    "ewma_normal": N_("Recent volatility, bell curve"),
    "ewma_empirical": N_("Recent volatility, shape of past moves"),
    "long_sd_empirical": N_("Volatility of a year, shape of past moves"),
}
BASES = {"live": N_("live"), "backtest": N_("backtest")}
OUTCOMES = {
    "open": N_("pending"),
    "resolved": N_("resolved"),
    "unresolved": N_("unresolved"),
    "revised": N_("revised"),
    "missed": N_("missed"),
}
# Why there is no number, by the reason that the ledger gives.
REASONS = {
    "SERVICE_AWAY": N_("Nobody was there to make it before the session opened."),
    "CORPORATE_ACTION_PENDING": N_(
        "The price moved as by a split that the source had not told of, so none was made."
    ),
    "TOO_LATE": N_("It was not ready before the session opened."),
    "HISTORY_TOO_SHORT": N_("There were too few past sessions to make one from."),
    "TRADING_HALTED": N_("The stock had not been traded lately, so none was made."),
    "NOT_TRADED": N_("The stock was not traded, nor within ten sessions after it."),
    "SESSION_LOST": N_("The source has lost the session, so nobody knows its close."),
}
KINDS = {
    "stock": N_("share"),
    "etf": N_("exchange-traded fund"),
    "index": N_("index"),
    "fund": N_("fund"),
    "fx": N_("currency pair"),
    "crypto": N_("crypto pair"),
    "future": N_("future"),
}
# Features of the model that have no number in their name.
_FEATURES = {
    "log σ": N_("How much it moves lately"),
    "σ of returns": N_("Moves between closes, against moves within sessions"),
    "log σ to market": N_("How much it moves lately, against the market"),
    "|z| 1": N_("Size of its last move"),
    "|z| before": N_("Size of the move before the last"),
    "largest |z| 10": N_("Its largest move of 10 sessions"),
    "largest |z| 63": N_("Its largest move of 63 sessions"),
    "sessions since the largest |z|": N_("How long ago its largest move was"),
    "move 1": N_("Its last move"),
    "range 1": N_("Range of its last session"),
    "|z| 1 quarters ago": N_("Its moves around the last quarterly report"),
    "gap 1": N_("Jump from close to open in the last session"),
    "|gap| 21": N_("Jumps from close to open over 21 sessions"),
    "gap share": N_("Share of its moves that happens while it is closed"),
    "close in range": N_("Where the last close lay in its session's range"),
    "volume 1": N_("How much was traded in the last session"),
    "weekday": N_("Day of the week"),
    "month": N_("Month"),
    "day of month": N_("Day of the month"),
    "days since session": N_("Days that it was closed before the last session"),
    "market log σ": N_("How much the market moves lately"),
    "market |z|": N_("Size of the market's last moves"),
    "market range": N_("Range of the market's last session"),
    "market volume": N_("How much the whole market traded"),
    "market move": N_("The market's last move"),
    "breadth": N_("Share of stocks that rose in the last session"),
    "breadth 63": N_("Share of stocks that rose over 63 sessions"),
    "togetherness": N_("How much all stocks move together"),
    "kind": N_("Kind of instrument"),
}
# Features of several lengths, by their name without its number.
_OF_SESSIONS = (
    (r"move (\d+)", N_("Its move over the last %(n)s sessions")),
    (r"sd (\d+)", N_("How much it moved over %(n)s sessions")),
    (r"\|z\| (\d+)", N_("Size of its moves over %(n)s sessions")),
    (r"\|z\| (\d+) quarters ago", N_("Its moves around the quarterly report %(n)s quarters ago")),
    (r"autocorrelation (\d+)", N_("How far its moves followed each other over %(n)s sessions")),
    (
        r"followed move (\d+)",
        N_("Its last move, as far as moves followed each other over %(n)s sessions"),
    ),
    (r"range (\d+)", N_("Its range within sessions, over %(n)s of them")),
    (r"Garman-Klass (\d+)", N_("How much it moved within sessions, over %(n)s of them")),
    (r"volume (\d+)", N_("How much was traded over %(n)s sessions")),
    (r"market \|z\| (\d+)", N_("Size of the market's moves over %(n)s sessions")),
    (r"market sd (\d+)", N_("How much the market moved over %(n)s sessions")),
    (r"market move (\d+)", N_("The market's move over %(n)s sessions")),
)


def feature(name: str) -> str:
    """Say in plain words what a feature of the model is; the name itself where it is a new one."""
    if name.startswith("rank of "):
        return _("%(what)s, compared with other stocks") % {"what": feature(name[8:])}
    if name in _FEATURES:
        return _(_FEATURES[name])
    for pattern, words in _OF_SESSIONS:
        if match := re.fullmatch(pattern, name):
            return _(words) % {"n": match[1]}
    return name


def reason(code: str) -> str:
    """Say why the ledger has no number; the code itself where it is a new one."""
    return _(REASONS[code]) if code in REASONS else code.replace("_", " ").lower()


def chart_text(symbol: str, history: History) -> str:
    """Say in a sentence what the chart of prices shows."""
    if not history.bars or history.lowest is None or history.highest is None:
        return _("There are no past prices.")
    last, decimals = history.bars[-1], history.decimals
    return _(
        "%(symbol)s closed at %(close)s %(currency)s on %(day)s; over the last %(n)s sessions its "
        "closes lay between %(low)s and %(high)s."
    ) % {
        "symbol": symbol,
        "close": price(last.close, decimals),
        "currency": history.instrument.currency,
        "day": day(last.date),
        "n": count(min(history.sessions, 250)),
        "low": price(history.lowest, decimals),
        "high": price(history.highest, decimals),
    }


def chart_labels() -> dict[str, str]:
    """Words that the script of the chart writes."""
    return {
        "month": _("1 month"),
        "half": _("6 months"),
        "year": _("1 year"),
        "five": _("5 years"),
        "all": _("All"),
        "failed": _("The prices could not be loaded; the table has the last of them."),
    }
