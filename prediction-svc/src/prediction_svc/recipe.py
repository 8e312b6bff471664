"""The numbers that a forecast depends on, in one place."""

import hashlib
from dataclasses import asdict, dataclass

HORIZON = 1
HORIZONS = (1, 5, 20)
"""Sessions ahead that are forecast."""
LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
"""Probabilities of the quantiles that are forecast, rising."""


@dataclass(frozen=True)
class Recipe:
    """How forecasts are made; sessions are each symbol's own."""

    features: int = 2
    """Raised whenever the features change, so that no model of other features is used."""
    decay: float = 0.94
    """Decay of the exponentially weighted variances (RiskMetrics, daily)."""
    min_bars: int = 60
    """The volatility of a symbol with fewer bars leans on its group's."""
    least_bars: int = 5
    """A symbol with fewer bars is not forecast."""
    long_sessions: int = 250
    """Window of the long-run standard deviation."""
    residual_sessions: int = 250
    """Window of the standardised residuals whose quantiles are pooled, at horizon 1."""
    far_residual_sessions: int = 500
    """The same at the horizons beyond, whose outcomes overlap."""
    group_weight: float = 250.0
    """n residuals of a group weigh n / (n + this) against those of all."""
    width_gain: float = 0.15
    """γ of the width control at horizon 1; divided by the horizon."""
    width_decay: float = 0.98
    """What is left of the log-width after a session."""
    width_limit: float = 0.5
    width_sessions: int = 250
    """Window of coverages that tells how far the hits of one session depend on each other."""
    width_symbols: float = 8.0
    """So many independent hits a session allow the full gain."""
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
    rounds: int = 200
    depth: int = 4
    learning_rate: float = 0.03
    min_child_weight: float = 100.0
    rank_rounds: int = 60
    rank_learning_rate: float = 0.05
    rank_depth: int = 2
    rank_min_child_weight: float = 1000.0
    row_share: float = 0.7
    column_share: float = 0.5
    bins: int = 64
    seed: int = 20
    up_per_score: float = 0.006
    """What a standardised rank score of 1 adds to the probability of up."""
    drift_per_score: float = 0.015
    """What it adds to the log move, in σ: κ of the pool."""
    drift_prior: float = 3000.0
    """Weight of the pool's κ against the sum of a symbol's squared scores. Large: a multiplier that
    grew fast would let a few late sessions outweigh all that earned the verdict."""

    def residual_window(self, horizon: int) -> int:
        """Sessions of residuals that quantiles are taken from."""
        return self.residual_sessions if horizon == 1 else self.far_residual_sessions

    def fingerprint(self) -> str:
        """Name these numbers in 16 hex digits."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:16]
