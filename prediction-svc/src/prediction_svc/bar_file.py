"""A file of daily bars."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TextIO

import numpy as np

from prediction_svc.fits import EPOCH
from prediction_svc.histories import History, clean_history

PRICES = ("open", "high", "low", "close", "volume")
SECONDS_IN_A_DAY = 86_400


def read_bars(path: Path) -> list[History]:
    """Read `symbol,date,open,high,low,close,volume`; symbols of one date close together.

    Raises ValueError that names the line where one is broken.
    """
    with _open(path) as file:
        reader = csv.DictReader(file)
        absent = {"symbol", "date", *PRICES} - set(reader.fieldnames or ())
        if absent:
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(absent))}")
        bars: dict[str, list[tuple[int, tuple[float, ...]]]] = defaultdict(list)
        for symbol, bar in _bars(path, reader):
            bars[symbol].append(bar)
    return [_history(symbol, sorted(own)) for symbol, own in bars.items()]


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="")
    return path.open(newline="")


def _bars(
    path: Path, reader: "csv.DictReader[str]"
) -> Iterator[tuple[str, tuple[int, tuple[float, ...]]]]:
    for row in reader:
        try:
            day = (date.fromisoformat(row["date"]) - EPOCH).days
            yield row["symbol"], (day, tuple(float(row[name] or "nan") for name in PRICES))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} line {reader.line_num}: {error}") from error


def _history(symbol: str, bars: list[tuple[int, tuple[float, ...]]]) -> History:
    days = np.array([day for day, _ in bars], dtype=np.int64)
    columns = np.array([values for _, values in bars], dtype=np.float64)
    named = {f"{name}s": columns[:, i] for i, name in enumerate(PRICES)}
    return clean_history(symbol, days, (days + 1) * SECONDS_IN_A_DAY, named)
