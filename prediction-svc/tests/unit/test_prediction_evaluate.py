import csv
import gzip
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prediction_svc.cli import main
from prediction_svc.fits import EPOCH

MakeHistory = Any
Bars = Callable[[int], Path]


@pytest.fixture
def bars(tmp_path: Path, make_history: MakeHistory) -> Bars:
    def write(sessions: int) -> Path:
        path = tmp_path / "bars.csv.gz"
        with gzip.open(path, "wt", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["symbol", "date", "open", "high", "low", "close", "volume"])
            for symbol in ("A", "B", "C"):
                history = make_history(symbol, sessions=sessions)
                for i, day in enumerate(history.days.tolist()):
                    prices = (history.opens, history.highs, history.lows, history.closes)
                    bar = [column[i] for column in (*prices, history.volumes)]
                    writer.writerow([symbol, EPOCH + timedelta(days=day), *bar])
        return path

    return write


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("forecaster", "horizon"),
    [("model", 1), ("no-learning", 1), ("base-rate", 1), ("model", 5), ("no-learning", 20)],
)
def test_the_forecasts_of_a_file(
    bars: Bars,
    tmp_path: Path,
    forecaster: str,
    horizon: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "forecasts.csv"
    command = ["evaluate", "--prices", str(bars(700)), "--out", str(out)]
    period = ["--start", "2021-06-01", "--end", "2021-06-11", "--forecaster", forecaster]
    assert main([*command, *period, "--horizon", str(horizon)]) == 0
    told = capsys.readouterr().out
    assert f"horizon {horizon}: 27 forecasts on 9 target dates" in told
    assert "share of outcomes in the 80 % band" in told
    written = rows(out)
    assert len(written) == 3 * 9
    assert {row["target_date"] for row in written} >= {"2021-06-01", "2021-06-11"}
    names = ["q05", "q10", "q25", "q50", "q75", "q90", "q95"]
    for row in written:
        as_of, target = (date.fromisoformat(row[name]) for name in ("asof_date", "target_date"))
        assert np.busday_count(as_of, target) == horizon
        assert 0.3 < float(row["p_up"]) < 0.7
        assert float(row["score"]) == 0  # three symbols have no ranks
        quantiles = [float(row[name]) for name in names]
        assert quantiles == sorted(set(quantiles))
        assert quantiles[0] < 0 < quantiles[-1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("symbol,date\n", "lacks the columns close, high, low, open, volume"),
        ("symbol,date,open,high,low,close,volume\nA,2020-01-02,1,1,1,x,1\n", "line 2"),
        ("symbol,date,open,high,low,close,volume\nA,2020-01-40,1,1,1,1,1\n", "line 2"),
        ("symbol,date,open,high,low,close,volume\nA,2020-01-02,1,1,1,1,1\n", "no session"),
    ],
)
def test_a_broken_file_is_named(
    tmp_path: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--prices", str(path), "--out", str(tmp_path / "out.csv")])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_files_that_cannot_be_read_or_written_are_named(
    bars: Bars, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bars(70)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole.read_bytes()[:2000])
    absent = tmp_path / "absent.csv"
    nowhere = tmp_path / "nowhere" / "out.csv"
    out = tmp_path / "out.csv"
    for prices, target, complaint in (
        (cut, out, "ended before the end-of-stream"),
        (absent, out, "absent.csv"),
        (whole, nowhere, "nowhere is not a folder"),
    ):
        with pytest.raises(SystemExit):
            main(["evaluate", "--prices", str(prices), "--out", str(target)])
        assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [["--start", "soon"], ["--forecaster", "oracle"], ["--horizon", "2"]]
)
def test_bad_options_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--prices", "a", "--out", "b", *option])
    assert stopped.value.code == 2
    assert option[1] in capsys.readouterr().err
