"""Training as it runs in a worker process, which fetches the bars by itself.

What needs XGBoost is imported where it is used: the serving process imports this module to name its
functions, and must not load the library.
"""

from prediction_svc.features import build_features
from prediction_svc.fits import Fit
from prediction_svc.market import MarketReader
from prediction_svc.models import TrainedModel
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe
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
