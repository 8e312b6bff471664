"""The numbers that a forecast depends on, in one place."""

import hashlib
from dataclasses import asdict, dataclass

HORIZON = 1
LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
"""Probabilities of the quantiles that are forecast, rising."""


@dataclass(frozen=True)
class Recipe:
    """How forecasts of the next session are made; sessions are each symbol's own."""

    features: int = 1
    """Raised whenever the features change, so that no model of other features is used."""
    decay: float = 0.94
    """Decay of the exponentially weighted variances (RiskMetrics, daily)."""
    min_bars: int = 60
    """A symbol with fewer bars is not forecast."""
    long_sessions: int = 250
    """Window of the long-run standard deviation."""
    residual_sessions: int = 250
    """Window of the standardised residuals whose quantiles are pooled."""
    min_residuals: int = 100
    """A pool of fewer residuals has no quantiles."""
    min_residual_sessions: int = 30
    """Nor has one that spans fewer sessions."""
    min_model_sessions: int = 60
    """The scale model answers once it has been out of sample for so many sessions."""
    training_days: int = 5 * 365 + 1
    """Calendar days before the fixed date that a model learns from."""
    min_labelled_sessions: int = 250
    """No model is fitted on fewer distinct sessions."""
    fits: int = 4
    """Half-yearly models kept: a year of residuals before a year of scored sessions begins."""
    scored_sessions: int = 250
    """Sessions that a score covers."""
    min_scored_sessions: int = 150
    """Below this a score is not said."""
    rounds: int = 150
    depth: int = 5
    learning_rate: float = 0.05
    min_child_weight: float = 50.0
    row_share: float = 0.7
    column_share: float = 0.5
    bins: int = 64
    seed: int = 20

    def fingerprint(self) -> str:
        """Name these numbers in 16 hex digits."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:16]
