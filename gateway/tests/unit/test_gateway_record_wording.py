"""Words for what the services name by codes."""

import re
from pathlib import Path

import numpy as np

from gateway import record_wording
from gateway.record_wording import REASONS, feature, reason
from prediction_svc.features import RANKED, build_features
from prediction_svc.histories import History
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe


def test_every_feature_of_the_model_has_plain_words() -> None:
    random = np.random.default_rng(1)
    n = 300
    closes = 50 * np.exp(np.cumsum(random.normal(0, 0.01, n)))
    history = History(
        symbol="A",
        group="equity:XTST",
        days=np.arange(18_000, 18_000 + n),
        opens=closes,
        highs=closes * 1.01,
        lows=closes * 0.99,
        closes=closes,
        volumes=np.full(n, 1e6),
        close_seconds=np.arange(18_000, 18_000 + n) * 86_400,
    )
    names = build_features(build_panel([history], Recipe())).names
    assert len(names) > 50
    assert {f"rank of {each}" for each in RANKED} <= set(names)
    for name in names:
        words = feature(name)
        assert words != name
        assert not re.search(r"[|σ_]|%\(", words), words
    assert len({feature(name) for name in names}) == len(names)
    assert feature("something new") == "something new"


def test_every_reason_of_the_ledger_has_a_sentence() -> None:
    source = Path(__file__).parents[3] / "prediction-svc" / "src" / "prediction_svc"
    said = {
        code
        for name in ("eligibility", "batches", "recording", "outcomes")
        for code in re.findall(
            r'(?:WhyNot\(\s*|reason=|reason = |return |else )"([A-Z_]{6,})"',
            (source / f"{name}.py").read_text(),
        )
    }
    assert said >= {"SERVICE_AWAY", "TOO_LATE", "NOT_TRADED", "HISTORY_TOO_SHORT"}
    assert said <= REASONS.keys()
    assert reason("SESSION_LOST") == record_wording.REASONS["SESSION_LOST"]
    assert reason("SOMETHING_NEW") == "something new"
