"""What an explanation of a forecast is, without what computes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds to the logarithm of the predicted size."""

    feature: str
    value: float | None
    """The feature itself; None where it is missing."""
    contribution: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """`bias` + contributions + `others` = `prediction`, the log of |move| / σ, within 1e-6."""

    prediction: float
    bias: float
    contributions: tuple[Contribution, ...]
    """The largest ones, by size."""
    others: float
    """Sum of all that is not told."""
