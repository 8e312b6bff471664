"""Why a band is as wide as it is: what each feature adds to the predicted size of the move."""

import numpy as np

from prediction_svc.boosters import matrix, unpack
from prediction_svc.explanation import Contribution, Explanation
from prediction_svc.features import Features
from prediction_svc.fitting import SIZES
from prediction_svc.histories import Ints
from prediction_svc.models import TrainedModel

TOLD = 6


def explain(
    model: TrainedModel, features: Features, rows: Ints, told: int = TOLD
) -> list[Explanation]:
    """Explain some rows by XGBoost's `pred_contribs` (TreeSHAP, Lundberg and Lee 2017)."""
    booster = unpack(model.booster, SIZES)
    names = tuple(booster.feature_names or ())
    seen = matrix(features, rows, names)
    margins = np.asarray(booster.predict(seen, output_margin=True), dtype=np.float64)
    parts = np.asarray(booster.predict(seen, pred_contribs=True), dtype=np.float64)
    columns = [features.names.index(name) for name in names]
    values = features.values[rows][:, columns].astype(np.float64)
    explanations = []
    for margin, of_row, of_features in zip(margins, parts, values, strict=True):
        largest = np.argsort(-np.abs(of_row[:-1]), kind="stable")[:told]
        contributions = tuple(
            Contribution(
                names[k],
                None if np.isnan(of_features[k]) else float(of_features[k]),
                float(of_row[k]),
            )
            for k in largest
        )
        others = float(of_row[:-1].sum() - of_row[largest].sum())
        explanations.append(Explanation(float(margin), float(of_row[-1]), contributions, others))
    return explanations
