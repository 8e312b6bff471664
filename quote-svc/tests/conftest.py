"""The demo market's past, which takes a second or two to make, is made once for all tests."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import pytest

from quote_svc.demo_prices import DemoPrices
from quote_svc.demo_stocks import DemoStock
from quote_svc.demo_time import PAST_SESSIONS

MakePrices = Callable[..., DemoPrices]


@pytest.fixture(scope="session")
def copied_prices() -> MakePrices:
    """Copies of prices that are those of a new market of the seed, up to its first start."""
    made: dict[int, DemoPrices] = {}

    def copied(
        stocks: Sequence[DemoStock], seed: int, turmoil_from: int | None = None
    ) -> DemoPrices:
        if turmoil_from is not None:
            return DemoPrices(stocks, seed, turmoil_from)
        if seed not in made:
            made[seed] = DemoPrices(stocks, seed)
            made[seed].make_through(PAST_SESSIONS - 1)
        return deepcopy(made[seed])

    return copied


@pytest.fixture
def shared_past(monkeypatch: pytest.MonkeyPatch, copied_prices: MakePrices) -> None:
    """Demo markets of this process begin with a copy of their past."""
    monkeypatch.setattr("quote_svc.demo_market.DemoPrices", copied_prices)
