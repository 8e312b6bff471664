"""What the models see of each session: its own past, and the market as of its close."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction_svc import rolling
from prediction_svc.crowd import FRESH_SECONDS, fresh_rows, means_across, ranks_among_peers
from prediction_svc.histories import KINDS, Floats, History, Ints
from prediction_svc.panel import Panel, garman_klass

Own = dict[str, Floats]
RANKED = ("log σ", "move 1", "move 5", "move 21", "move 250", "volume 1", "|z| 5")
OF_THE_MARKET = (
    *("log σ", "|z| 1", "|z| 5", "|z| 21", "sd 5", "range 1", "volume 1"),
    *("move 1", "move 5", "move 21", "move 63"),
)


@dataclass(frozen=True)
class Features:
    """One row of `values`, shape (N, features), for each row of a panel; missing is NaN."""

    names: tuple[str, ...]
    values: NDArray[np.float32]


class KeptFeatures:
    """Own features of the latest histories, for whoever forecasts them again with others."""

    def __init__(self) -> None:
        self._since = 0
        self._of: dict[str, tuple[History, Floats, Own]] = {}

    def own(self, panel: Panel, since: int) -> list[Own]:
        """Those of each history from the instant `since` on; what is kept, and what is not, made.

        A symbol's own past and σ are all that they depend on.
        """
        before = self._of if self._since == since else {}
        self._since, self._of = since, {}
        for i, history in enumerate(panel.histories):
            sigma, known = panel.sigma[panel.rows(i)], before.get(history.symbol)
            if (
                known is None
                or known[0] is not history
                or not np.array_equal(known[1], sigma, equal_nan=True)
            ):
                known = history, sigma.copy(), _own_since(panel, i, since)
            self._of[history.symbol] = known
        return [own for _, _, own in self._of.values()]


def build_features(panel: Panel, since: int = 0, kept: KeptFeatures | None = None) -> Features:
    """Features of every row of the panel, from bars that had closed at the row's own close.

    Rows that closed before the instant `since` are left missing, which saves time; the others are
    the same to the bit, also with what was `kept` of an earlier panel.
    """
    # what can't be divided is missing
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # of the market that is as much as counts at that instant
        first = since - FRESH_SECONDS
        own = (kept or KeptFeatures()).own(panel, first)
        columns = _columns(panel, own, since)
        values = np.full((len(panel.seconds), len(columns)), np.nan, dtype=np.float32)
        rows = np.flatnonzero(panel.seconds >= since)
        for i, column in enumerate(columns.values()):
            values[rows, i] = column
    values[~np.isfinite(values)] = np.nan
    return Features(tuple(columns), values)


def _own_since(panel: Panel, i: int, since: int) -> Own:
    history, rows = panel.histories[i], panel.rows(i)
    own = own_features(history, panel.sigma[rows], panel.return_sigma[rows])
    first = int(np.searchsorted(history.close_seconds, since))
    return {name: column[first:].copy() for name, column in own.items()} if first else own


def _columns(panel: Panel, own: list[Own], since: int) -> Own:
    kept = panel.seconds >= since
    # each history's own features begin a little before that
    counts = np.bincount(panel.symbol_of[kept], minlength=len(own))
    columns = {
        name: np.concatenate(
            [part[name][len(part[name]) - n :] for part, n in zip(own, counts, strict=True)]
        )
        for name in own[0]
    }
    whole = {name: _on_rows(panel, [part[name] for part in own]) for name in OF_THE_MARKET}
    columns |= market_features(panel, whole, panel.seconds[kept])
    columns["log σ to market"] = columns["log σ"] - columns["market log σ"]
    kinds = [KINDS.index(name.split(":")[0]) for name in panel.groups]
    columns["kind"] = np.array(kinds, dtype=np.float64)[panel.group_of[panel.symbol_of[kept]]]
    for name in RANKED:
        values = np.full(len(panel.seconds), np.nan)
        values[kept] = columns[name]
        columns[f"rank of {name}"] = ranks_among_peers(panel, values)[kept]
    return columns


def _on_rows(panel: Panel, tails: list[Floats]) -> Floats:
    """The last values of each history, on the panel's rows; missing before."""
    values = np.full(len(panel.seconds), np.nan)
    for end, tail in zip(panel.starts[1:], tails, strict=True):
        values[end - len(tail) : end] = tail
    return values


def own_features(history: History, sigma: Floats, return_sigma: Floats) -> Own:
    """Features of one symbol's sessions from its own past alone, columns of n."""
    logs = np.log(history.closes)
    returns = rolling.change(logs, 1)
    # what each move was against the σ known before it
    before = np.append(np.nan, sigma[:-1])
    sizes = np.abs(returns) / before
    columns: Own = {"log σ": np.log(sigma), "σ of returns": np.log(return_sigma / sigma)}
    for sessions in (1, 5, 21, 63, 250):
        moved = rolling.change(logs, sessions)
        columns[f"move {sessions}"] = moved / (sigma * np.sqrt(sessions))
    of_returns = rolling.Windows(returns)
    for sessions in (5, 10, 21, 63, 125, 250):
        columns[f"sd {sessions}"] = _log(of_returns.deviation(sessions) / sigma)
    columns |= _size_features(sizes)
    columns |= _direction_features(returns / before, columns["move 1"])
    columns |= _range_features(history, returns, sigma)
    columns |= _volume_features(history)
    columns |= _calendar_features(history)
    return columns


def _log(ratio: Floats) -> Floats:
    return np.log(np.where(ratio > 0, ratio, np.nan))


def _size_features(sizes: Floats) -> Own:
    columns: Own = {"|z| 1": sizes, "|z| before": np.append(np.nan, sizes[:-1])}
    of_sizes = rolling.Windows(sizes)
    for sessions in (5, 21, 63, 250):
        columns[f"|z| {sessions}"] = of_sizes.mean(sessions)
    columns["largest |z| 10"] = rolling.maximum(sizes, 10)
    columns["largest |z| 63"] = rolling.maximum(sizes, 63)
    columns["sessions since the largest |z|"] = rolling.sessions_since_maximum(sizes, 63)
    # company reports come about every 63 sessions
    for reports in (1, 2, 4):
        columns[f"|z| {reports} quarters ago"] = rolling.maximum(sizes, 5, 63 * reports - 4)
    return columns


def _direction_features(moves: Floats, last: Floats) -> Own:
    # how far moves of one direction have followed each other, and what the last one then means
    products = moves * np.append(np.nan, moves[:-1])
    of_products, of_squares = rolling.Windows(products), rolling.Windows(moves * moves)
    columns: Own = {}
    for sessions in (63, 250):
        follows = of_products.mean(sessions) / of_squares.mean(sessions)
        columns[f"autocorrelation {sessions}"] = follows
        columns[f"followed move {sessions}"] = follows * last
    return columns


def _range_features(history: History, returns: Floats, sigma: Floats) -> Own:
    spread = np.log(history.highs / history.lows)
    gap = np.log(history.opens) - np.append(np.nan, np.log(history.closes[:-1]))
    variance = garman_klass(history)
    width = np.where(spread > 0, spread, np.nan)
    columns: Own = {
        "range 1": _log(width / sigma),
        "gap 1": gap / sigma,
        "|gap| 21": rolling.mean(np.abs(gap), 21) / sigma,
        "gap share": rolling.mean(gap * gap, 63) / rolling.mean(returns * returns, 63),
        "close in range": (history.closes - history.lows) / (history.highs - history.lows + 1e-12),
    }
    of_width, of_variance = rolling.Windows(width), rolling.Windows(variance)
    for sessions in (5, 21, 63):
        columns[f"range {sessions}"] = _log(of_width.mean(sessions) / sigma)
    for sessions in (5, 21):
        columns[f"Garman-Klass {sessions}"] = _log(np.sqrt(of_variance.mean(sessions)) / sigma)
    return columns


def _volume_features(history: History) -> Own:
    traded = _log(history.volumes)
    of_traded = rolling.Windows(traded)
    usual, spread = of_traded.mean(63), np.maximum(of_traded.deviation(63), 1e-3)
    return {
        "volume 1": (traded - usual) / spread,
        "volume 5": (of_traded.mean(5) - usual) / spread,
        "volume 21": (of_traded.mean(21) - usual) / spread,
    }


def _calendar_features(history: History) -> Own:
    months = history.days.astype("datetime64[D]").astype("datetime64[M]")
    return {
        "weekday": ((history.days + 3) % 7).astype(np.float64),
        "month": months.astype(np.int64) % 12 + 1.0,
        "day of month": (history.days - months.astype("datetime64[D]").astype(np.int64)) + 1.0,
        "days since session": np.append(np.nan, np.diff(history.days).astype(np.float64)),
    }


def market_features(panel: Panel, own: Own, seconds: Ints) -> Own:
    """The latest closed session of every symbol, averaged as of each of the instants.

    `own` are features of every row of the panel, shape (N,); the result has the instants' shape.
    """
    instants, instant_of = np.unique(seconds, return_inverse=True)
    latest, fresh = fresh_rows(panel, instants)
    moves = own["move 1"]

    def average(column: Floats) -> Floats:
        return means_across(column[latest], fresh)

    mean_move, mean_square = average(moves), average(moves * moves)
    across = {
        "market log σ": average(own["log σ"]),
        "market |z|": average(own["|z| 1"]),
        "market |z| 5": average(own["|z| 5"]),
        "market |z| 21": average(own["|z| 21"]),
        "market sd 5": average(own["sd 5"]),
        "market range": average(own["range 1"]),
        "market volume": average(own["volume 1"]),
        "market move": mean_move,
        "market move 5": average(own["move 5"]),
        "market move 21": average(own["move 21"]),
        "breadth": average(np.where(np.isnan(moves), np.nan, moves > 0)),
        "breadth 63": average(np.where(np.isnan(own["move 63"]), np.nan, own["move 63"] > 0)),
        "togetherness": mean_move * mean_move / mean_square,
    }
    return {name: values[instant_of] for name, values in across.items()}
