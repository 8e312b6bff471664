"""Training as it runs in a worker process, which fetches the bars by itself.

What needs XGBoost is imported where it is used: the serving process imports this module to name its
functions, and must not load the library.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from prediction_svc.features import build_features
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.forecasting import backtest, record_of, usable_rows
from prediction_svc.histories import History
from prediction_svc.market import MarketReader
from prediction_svc.models import TrainedModel
from prediction_svc.panel import build_panel
from prediction_svc.promotion import COMPARED_SESSIONS, Promotion, promotion
from prediction_svc.recipe import Recipe
from prediction_svc.record import Record
from prediction_svc.workers import Tell

# Parts of the time of a training with 500 symbols and five years, by measurement.
READ, BUILT = 0.05, 0.15


def train_model(reader: MarketReader, fit: Fit, recipe: Recipe, tell: Tell) -> TrainedModel | None:
    """Train the models of one date; None where the histories are too short for them.

    Raises MarketUnavailableError.
    """
    from prediction_svc.fitting import train  # noqa: PLC0415 - see the module

    tell(0.0, "reading histories")
    histories = reader.read().histories
    if not histories:
        return None
    tell(READ, "building features")
    panel = build_panel(histories, recipe)
    features = build_features(panel)
    return train(
        panel, features, fit, recipe, lambda share: tell(BUILT + (1 - BUILT) * share, "training")
    )


def try_recipe(
    reader: MarketReader, champion: Recipe, challenger: Recipe, tell: Tell
) -> Promotion | None:
    """Compare two recipes of the same features, both refitted before the last 126 sessions.

    None where the histories are too short for that. Raises MarketUnavailableError.
    """
    tell(0.0, "reading histories")
    histories = reader.read().histories
    fits = _trial_fits(histories)
    records = []
    for i, recipe in enumerate((champion, challenger)):
        begin = READ + (1 - READ) * i / 2
        record = _trial(histories, fits, recipe, begin, tell) if fits else None
        if record is None:
            return None
        records.append(record)
    ours, theirs = _of_both(*records)
    return promotion(ours, theirs) if len(ours) else None


def _trial_fits(histories: Sequence[History]) -> list[Fit]:
    """A fit before the sessions to compare on, and one whose residuals its quantiles need."""
    days = sorted({day for history in histories for day in history.days.tolist()})
    fits = []
    for sessions in (2 * COMPARED_SESSIONS, COMPARED_SESSIONS):
        if len(days) < sessions + 2:
            return []
        day = days[-sessions - 2]
        second = max(int(h.close_seconds[h.days <= day][-1]) for h in histories if h.days[0] <= day)
        session = EPOCH + timedelta(days=day)
        fits.append(Fit(session, session, second))
    return fits


def _trial(
    histories: Sequence[History], fits: Sequence[Fit], recipe: Recipe, begin: float, tell: Tell
) -> Record | None:
    """What a recipe's forecasts since the last of the fits were worth, each made walk-forward."""
    from prediction_svc.fitting import predictions, train  # noqa: PLC0415 - see the module

    stage, part = "trying the new recipe against the old", (1 - READ) / 2 / (len(fits) + 1)
    panel = build_panel(histories, recipe)
    features = build_features(panel)
    models = []
    for i, fit in enumerate(fits):
        start = begin + part * i

        def told(share: float, start: float = start) -> None:
            tell(start + part * share, stage)

        if (model := train(panel, features, fit, recipe, told)) is None:
            return None
        models.append(model)
    predicted = predictions(panel, features, models, recipe)
    rows = usable_rows(panel, predicted, recipe)
    forecasts, _ = backtest(panel, predicted, rows, recipe)
    kept = panel.seconds[forecasts.rows] >= fits[-1].second
    return record_of(panel, forecasts.chosen(kept), recipe)


def _of_both(one: Record, other: Record) -> tuple[Record, Record]:
    """The forecasts that both have made."""
    keys = [
        list(zip(r.symbols.tolist(), r.target_days.tolist(), strict=True)) for r in (one, other)
    ]
    shared = set(keys[0]) & set(keys[1])
    kept = [np.array([key in shared for key in own], dtype=np.bool_) for own in keys]
    return one.where(kept[0]), other.where(kept[1])
