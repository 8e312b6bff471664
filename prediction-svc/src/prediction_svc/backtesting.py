"""The backtest that models go through before they answer, and the live record: a worker's jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foretick_rpc.errors import DatabaseUnavailableError, StartupError
from prediction_svc.book import Promotion
from prediction_svc.forecasting import Standing
from prediction_svc.jobs import backtest_horizons
from prediction_svc.market import MarketReader
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import HORIZON, Recipe
from prediction_svc.scoring import judge, score_ledger
from prediction_svc.track_record import Basis, TrackRecord
from prediction_svc.workers import Tell


@dataclass(frozen=True)
class BacktestedMarket:
    """What the recipe was worth with some models over the history at hand."""

    market_id: str
    promotion: Promotion
    standing: Mapping[int, Standing]
    """Of each horizon, after all that has resolved."""
    records: Mapping[int, TrackRecord]


def backtest_market(
    reader: MarketReader,
    models: Sequence[TrainedModel],
    recipe: Recipe,
    tell: Tell,
) -> BacktestedMarket:
    """Replay the recipe with some models, or without any. Raises MarketUnavailableError."""
    tell(0.0, "reading histories")
    fetched = reader.read()
    tell(0.1, "backtesting")
    tested = backtest_horizons(fetched.histories, models, recipe) if fetched.histories else {}
    tell(0.7, "scoring")
    records = {horizon: judge(of.record, recipe, Basis.BACKTEST) for horizon, of in tested.items()}
    of_next = records.get(HORIZON)
    promotion = Promotion(
        model_versions=tuple(model.version for model in models),
        recipe_hash=recipe.fingerprint(),
        symbols=frozenset(fetched.bars),
        scores={
            horizon: {symbol: one.score for symbol, one in record.symbols.items()}
            for horizon, record in records.items()
        },
        directions=of_next.directions if of_next else frozenset(),
    )
    standing = {horizon: of.standing for horizon, of in tested.items()}
    return BacktestedMarket(fetched.market_id, promotion, standing, records)


def score_market(
    database_url: str, market_id: str, recipe: Recipe, tell: Tell
) -> Mapping[int, TrackRecord]:
    """Score what the ledger says of a market, by horizon. Raises DatabaseUnavailableError."""
    tell(0.0, "scoring")
    try:
        return score_ledger(database_url, market_id, recipe)
    except StartupError as error:
        raise DatabaseUnavailableError(str(error)) from error
