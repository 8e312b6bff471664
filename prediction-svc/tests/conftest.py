from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from prediction_svc.histories import History, clean_history
from prediction_svc.recipe import Recipe

MakeHistory = Callable[..., History]
EPOCH = date(1970, 1, 1)


def generated_history(
    symbol: str,
    *,
    sessions: int,
    last: date = date(2021, 8, 13),
    closes_at: float = 21.0,
    every_day: bool = False,
    follows: float = 0.0,
    group: str = "equity",
    seed: int = 1,
) -> History:
    """Bars of a stock whose volatility moves; `closes_at` is the UTC hour of its closes.

    `follows` is the autocorrelation of its daily moves.
    """
    days: list[int] = []
    day = last
    while len(days) < sessions:
        if every_day or day.weekday() < 5:
            days.append((day - EPOCH).days)
        day -= timedelta(days=1)
    random = np.random.default_rng([seed, *symbol.encode()])
    level = 0.0
    moves: list[float] = []
    for shock in random.standard_normal(sessions):
        level = 0.95 * level + 0.12 * random.standard_normal()
        moves.append(0.015 * np.exp(level) * shock + follows * (moves[-1] if moves else 0.0))
    closes = 50 * np.exp(np.cumsum(moves))
    opens = np.append(50.0, closes[:-1]) * np.exp(0.004 * random.standard_normal(sessions))
    stretch = np.exp(np.abs(0.006 * random.standard_normal((2, sessions))))
    columns = {
        "opens": opens,
        "highs": np.maximum(opens, closes) * stretch[0],
        "lows": np.minimum(opens, closes) / stretch[1],
        "closes": closes,
        "volumes": np.exp(12 + random.standard_normal(sessions)),
    }
    own_days = np.array(days[::-1], dtype=np.int64)
    seconds = own_days * 86_400 + int(closes_at * 3600)
    return clean_history(symbol, own_days, seconds, columns, group)


@pytest.fixture
def make_history() -> MakeHistory:
    return generated_history


@pytest.fixture(scope="session")
def quick_recipe() -> Recipe:
    """The product's recipe with few and shallow trees, for short histories."""
    return Recipe(
        rounds=8,
        depth=3,
        learning_rate=0.1,
        min_labelled_sessions=100,
        min_child_weight=5.0,
        rank_rounds=8,
        rank_min_child_weight=50.0,
    )


@pytest.fixture(scope="session")
def mixed_histories() -> list[History]:
    """Stocks of New York and Tokyo, late listers, one that never closes, and a fund."""
    new_york = [
        generated_history(f"NY{i:02d}", sessions=560, group="equity:XNYS", follows=0.6 * (i == 21))
        for i in range(22)
    ]
    tokyo = [
        generated_history(f"T{i}", sessions=540, closes_at=6.0, group="equity:XTKS")
        for i in range(3)
    ]
    late = generated_history("LATE", sessions=130, group="equity:XNYS")
    new = generated_history("NEW", sessions=90, closes_at=6.0, group="equity:XTKS")
    always = generated_history("COIN", sessions=780, closes_at=24.0, every_day=True, group="24/7")
    unranged = generated_history("NAV", sessions=560)
    nothing = np.full(len(unranged), np.nan)
    columns = {"opens": nothing, "highs": nothing, "lows": nothing, "volumes": nothing}
    columns |= {"closes": unranged.closes}
    fund = clean_history("NAV", unranged.days, unranged.close_seconds, columns, "fund")
    return [*new_york, *tokyo, late, new, always, fund]
