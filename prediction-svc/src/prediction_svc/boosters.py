"""XGBoost as it is used here. Only worker processes import this."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from prediction_svc.features import Features
from prediction_svc.histories import Floats, Ints
from prediction_svc.recipe import Recipe


def matrix(
    features: Features, rows: Ints, names: tuple[str, ...], labels: Floats | None = None
) -> xgb.DMatrix:
    """The named features of some rows, in that order. Raises ValueError where one is not there."""
    absent = [name for name in names if name not in features.names]
    if absent:
        raise ValueError(f"a model was trained on other features: {', '.join(absent)}")
    columns = [features.names.index(name) for name in names]
    values = features.values[rows] if names == features.names else features.values[rows][:, columns]
    of_labels = None if labels is None else labels.astype(np.float32)
    return xgb.DMatrix(
        values, label=of_labels, missing=np.nan, nthread=1, feature_names=list(names)
    )


def parameters(recipe: Recipe) -> dict[str, object]:
    """What all boosters have in common."""
    return {
        "tree_method": "hist",
        "nthread": 1,  # threads of several processes on shared cores wait for each other
        "seed": recipe.seed,
        "eta": recipe.learning_rate,
        "subsample": recipe.row_share,
        "colsample_bytree": recipe.column_share,
        "max_bin": recipe.bins,
    }


class Rounds(xgb.callback.TrainingCallback):
    """Tells which share of `count` rounds is done, 0 to 1, after each."""

    def __init__(self, count: int, tell: Callable[[float], None]) -> None:
        super().__init__()
        self._count = count
        self._tell = tell

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        """Go on after a round."""
        self._tell((epoch + 1) / self._count)
        return False


def pack(boosters: Mapping[str, xgb.Booster]) -> bytes:
    """Several boosters as one: a line of JSON with names and lengths, then XGBoost's own UBJSON."""
    raw = {name: bytes(booster.save_raw("ubj")) for name, booster in sorted(boosters.items())}
    header = json.dumps({name: len(body) for name, body in raw.items()})
    return header.encode() + b"\n" + b"".join(raw.values())


def names_of(packed: bytes) -> list[str]:
    """Names of the boosters that were packed, rising."""
    return list(json.loads(packed.partition(b"\n")[0]))


def unpack(packed: bytes, name: str) -> xgb.Booster:
    """The booster of that name. Raises KeyError where there is none."""
    line, _, bodies = packed.partition(b"\n")
    lengths: dict[str, int] = json.loads(line)
    start = sum(lengths[other] for other in lengths if other < name)
    body = bytearray(bodies[start : start + lengths[name]])
    return xgb.Booster({"nthread": 1}, model_file=body)


def predict(booster: xgb.Booster, features: Features, rows: Ints) -> NDArray[np.float64]:
    """Predictions for some rows, shape (rows,)."""
    names = tuple(booster.feature_names or ())
    return np.asarray(booster.predict(matrix(features, rows, names)), dtype=np.float64)
