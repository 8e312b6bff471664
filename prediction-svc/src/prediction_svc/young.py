"""The volatility of symbols with few bars: blended with that of the others of their group."""

from typing import TYPE_CHECKING

import numpy as np

from prediction_svc.crowd import fresh_rows, means_across
from prediction_svc.histories import Floats

if TYPE_CHECKING:  # the panel itself is built with this module
    from prediction_svc.panel import Panel


def blend_young(panel: "Panel", own: Floats, values: Floats, full_bars: int) -> Floats:
    """Volatilities in which each symbol's first `full_bars` rows lean on its group, shape (N,).

    log σ = (n · log own + (full_bars − n) · log pool) / full_bars after n returns, where the pool
    is the mean log volatility, at the instant of the close, of the group's symbols with enough
    bars (of all symbols where the group has none; of nobody: `values` stays as it is). `own` is
    what the few bars say by themselves, NaN at a symbol's first.
    """
    young = np.flatnonzero(panel.own_session + 1 < full_bars)
    old = np.where(panel.own_session + 1 >= full_bars, np.log(values), np.nan)
    instants, instant_of = np.unique(panel.seconds[young], return_inverse=True)
    latest, fresh = fresh_rows(panel, instants)
    everybody = means_across(old[latest], fresh)[instant_of]
    symbols = panel.symbol_of[young]
    pool = np.full(len(young), np.nan)
    for group in range(len(panel.groups)):
        members = panel.group_of == group
        of_group = means_across(old[latest], fresh & members[None, :])[instant_of]
        pool = np.where(members[symbols], of_group, pool)
    pool = np.where(np.isnan(pool), everybody, pool)
    bars = panel.own_session[young]
    logs = np.log(own[young])
    blended = (np.where(bars > 0, bars * logs, 0.0) + (full_bars - bars) * pool) / full_bars
    result = values.copy()
    result[young] = np.where(np.isnan(blended), values[young], np.exp(blended))
    return result
