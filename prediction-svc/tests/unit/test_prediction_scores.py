import math
from dataclasses import replace

import numpy as np
import pytest

from prediction_svc.forecasting import backtest, record_of, usable_rows, without_learning
from prediction_svc.histories import History
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe
from prediction_svc.scores import Score, hac_variance, skill_score
from prediction_svc.scoring import judge
from prediction_svc.track_record import Basis


def test_the_reference_itself_has_no_skill(mixed_histories: list[History]) -> None:
    panel = build_panel(mixed_histories, Recipe())
    predicted = without_learning(panel, 1, Recipe())
    forecasts, _ = backtest(panel, predicted, usable_rows(panel, predicted, Recipe()), Recipe())
    record = record_of(panel, forecasts, Recipe())
    itself = judge(replace(record, quantiles=record.baselines[0]), Recipe(), Basis.BACKTEST)
    assert itself.symbols["NY00"].score == Score(0.0, 0.0, 0.0, 250)
    assert itself.pooled is not None
    assert itself.pooled.skills[0].value == 0.0


def test_a_late_lister_has_no_score_yet(mixed_histories: list[History]) -> None:
    panel = build_panel(mixed_histories, Recipe())
    predicted = without_learning(panel, 1, Recipe())
    forecasts, _ = backtest(panel, predicted, usable_rows(panel, predicted, Recipe()), Recipe())
    scored = judge(record_of(panel, forecasts, Recipe()), Recipe(), Basis.BACKTEST).symbols
    assert scored["LATE"].score.value is None
    assert 60 < scored["LATE"].sessions < 150
    assert scored["NY01"].score.value is not None


def test_hac_variance_is_its_definition() -> None:
    series = np.random.default_rng(2).standard_normal(60)
    n = len(series)
    total = 0.0
    for i in range(n):
        for j in range(n):
            if abs(i - j) <= 5:
                total += (1 - abs(i - j) / 6) * series[i] * series[j]
    assert hac_variance(series, 5) == pytest.approx(total / n**2)


def test_the_interval_covers_the_skill() -> None:
    """True skill 10 %: the interval holds it in about 95 of 100 samples."""
    random = np.random.default_rng(4)
    held, values = 0, []
    for _ in range(400):
        reference = random.gamma(2.0, 1.0, 250)
        losses = reference * 0.9 + 0.3 * random.standard_normal(250)
        score = skill_score(losses, reference, Recipe())
        assert score.value is not None
        assert score.low is not None
        assert score.high is not None
        assert score.low < score.value < score.high
        held += score.low <= 10.0 <= score.high
        values.append(score.value)
    assert 0.90 <= held / 400 <= 0.98
    assert math.isclose(float(np.mean(values)), 10.0, abs_tol=0.3)


@pytest.mark.parametrize("sessions", [0, 1, 149])
def test_below_150_sessions_nothing_is_said(sessions: int) -> None:
    losses = np.ones(sessions)
    score = skill_score(losses, 2 * losses, Recipe())
    assert (score.value, score.low, score.high) == (None, None, None)
    assert score.scored_sessions == sessions


def test_from_150_sessions_on_it_is() -> None:
    losses = np.ones(150)
    score = skill_score(losses, 2 * losses, Recipe())
    assert score.value == pytest.approx(50.0)
