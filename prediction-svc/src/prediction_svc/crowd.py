"""What holds across symbols at one instant, whatever their order or number."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prediction_svc.histories import Floats, Ints

if TYPE_CHECKING:  # the panel itself is built with this module
    from prediction_svc.panel import Panel

FRESH_SECONDS = 7 * 86_400  # a symbol that closed longer ago tells nothing of the market now
PEERS = 20
_FIXED_POINT = 2.0**32


def fresh_rows(panel: "Panel", instants: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the latest closed row of each symbol at each instant, and whether it is fresh.

    Both of shape (instants, S); a symbol without a closed row is not fresh.
    """
    closed = panel.closed_by(instants)
    latest = panel.starts[:-1] + np.maximum(closed - 1, 0)
    age = instants[:, None] - panel.seconds[latest]
    return latest, (closed > 0) & (age < FRESH_SECONDS)


def means_across(values: Floats, among: NDArray[np.bool_]) -> Floats:
    """Mean of each row over the finite values in `among`; NaN where there are none.

    Summed in fixed point, which is exact: a symbol that lists later, or another order of symbols,
    changes no bit.
    """
    counted = among & np.isfinite(values)
    bounded = np.clip(np.where(counted, values, 0.0), -1e4, 1e4)
    total = np.rint(bounded * _FIXED_POINT).astype(np.int64).sum(axis=1)
    count = counted.sum(axis=1)
    return np.where(count > 0, total / _FIXED_POINT / np.maximum(count, 1), np.nan)


def ranks_among_peers(panel: "Panel", values: Floats) -> Floats:
    """Rank of each row among its group's symbols that closed at the same instant, in (−.5, .5).

    Ties are averaged; 0 where there is no value or fewer than 20 peers with one.
    """
    ranks = np.zeros(len(values))
    rows = np.flatnonzero(np.isfinite(values))
    if not len(rows):
        return ranks
    # one number for each instant and group
    instant_of = panel.instants[1] * len(panel.groups) + panel.group_of[panel.symbol_of]
    order = rows[np.lexsort((values[rows], instant_of[rows]))]
    instant, value = instant_of[order], values[order]
    place = np.arange(len(order))
    new_instant = np.append(True, instant[1:] != instant[:-1])
    new_value = new_instant | np.append(True, value[1:] != value[:-1])
    first_of_instant = np.maximum.accumulate(np.where(new_instant, place, 0))
    peers = np.bincount(instant)[instant]
    tie = np.cumsum(new_value) - 1
    starts = np.flatnonzero(new_value)
    ends = np.append(starts[1:], len(order))
    average_place = ((starts + ends - 1) / 2)[tie] - first_of_instant
    ranks[order] = np.where(peers >= PEERS, (average_place + 0.5) / peers - 0.5, 0.0)
    return ranks
