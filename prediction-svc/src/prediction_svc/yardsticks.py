"""What a forecast is judged by, written down with it: so nobody can choose it after the fact."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from prediction_svc.histories import Floats
from prediction_svc.recipe import LEVELS

BASELINES = 3
NUMBERS = 3 + BASELINES * len(LEVELS)
_LAYOUT = struct.Struct(f">{NUMBERS}d")


@dataclass(frozen=True)
class Yardsticks:
    """What was known when the forecast was made; moves are log moves from the reference close."""

    sigma: float
    """EWMA σ of the returns · √horizon, above 0."""
    base_rate: float
    """Of up moves."""
    rank_score: float
    baselines: tuple[tuple[float, ...], ...]
    """EWMA-normal, EWMA × empirical, 250-day sd × empirical: one move for each of LEVELS."""

    def packed(self) -> bytes:
        """As big-endian doubles in the order of the fields. Raises ValueError where one is amiss.

        Baselines follow each other whole, each by rising probability.
        """
        if [len(each) for each in self.baselines] != [len(LEVELS)] * BASELINES:
            raise ValueError(f"baselines must be {BASELINES} of {len(LEVELS)} moves each")
        numbers = (self.sigma, self.base_rate, self.rank_score, *chain(*self.baselines))
        if not all(map(math.isfinite, numbers)):
            raise ValueError("yardsticks must be finite numbers")
        if not (self.sigma > 0 and 0 <= self.base_rate <= 1):
            raise ValueError("sigma must be above 0, and base_rate between 0 and 1")
        return _LAYOUT.pack(*numbers)

    @classmethod
    def unpacked(cls, packed: bytes) -> "Yardsticks":
        """Read what `packed` gave. Raises ValueError where that has another length."""
        if len(packed) != _LAYOUT.size:
            raise ValueError(f"yardsticks are {_LAYOUT.size} bytes, not {len(packed)}")
        sigma, base_rate, rank_score, *moves = _LAYOUT.unpack(packed)
        ends = range(0, len(moves), len(LEVELS))
        baselines = tuple(tuple(moves[begin : begin + len(LEVELS)]) for begin in ends)
        return cls(sigma, base_rate, rank_score, baselines)


def unpack_all(packed: Sequence[bytes | None]) -> Floats:
    """The numbers of many, in the order that they are packed in: shape (n, 24), NaN for None.

    Raises ValueError where one has another length.
    """
    absent = struct.pack(">d", math.nan) * NUMBERS
    whole = b"".join(absent if each is None else each for each in packed)
    return np.frombuffer(whole, dtype=">f8").astype(np.float64).reshape(len(packed), NUMBERS)
