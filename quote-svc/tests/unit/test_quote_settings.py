"""Settings, and what a bad one says."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from foretick_rpc.settings import load_settings
from quote_svc.settings import MarketChoice, QuoteSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in QuoteSettings.model_fields.values():
        monkeypatch.delenv(str(name.validation_alias), raising=False)
    monkeypatch.setenv("FORETICK_SERVICE_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("FORETICK_DATA_DIR", str(tmp_path))


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings(QuoteSettings)
    assert settings.market is MarketChoice.DEMO
    assert settings.listen == "127.0.0.1:50051"
    assert (settings.csv_exchange, settings.csv_currency) == ("XNYS", "USD")
    assert settings.as_of is None
    assert settings.demo_seed == 7
    assert (settings.demo_session_seconds, settings.demo_night_seconds) == (120, 15)
    assert settings.database == f"sqlite:///{tmp_path}/quote.db"


def test_a_whole_csv_market(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "QUOTE_MARKET": "csv",
        "QUOTE_CSV_PATH": str(tmp_path),
        "QUOTE_AS_OF": "2019-12-31",
        "QUOTE_CSV_EXCHANGE": "XLON",
        "QUOTE_CSV_CURRENCY": "GBP",
        "QUOTE_DATABASE_URL": "sqlite:///elsewhere.db",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(QuoteSettings)
    assert settings.market is MarketChoice.CSV
    assert settings.csv_path == tmp_path
    assert settings.as_of == date(2019, 12, 31)
    assert (settings.csv_exchange, settings.csv_currency) == ("XLON", "GBP")
    assert settings.database == "sqlite:///elsewhere.db"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("QUOTE_MARKET", "nasdaq", "'demo', 'csv' or 'yahoo'"),
        ("QUOTE_AS_OF", "20191231", "2019-12-31"),
        ("QUOTE_AS_OF", "yesterday", "2019-12-31"),
        ("QUOTE_CSV_CURRENCY", "GBp", "three capitals"),
        ("QUOTE_CSV_CURRENCY", "DOLLAR", "three capitals"),
        ("DEMO_SEED", "-1", "greater than or equal to 0"),
        ("DEMO_SEED", "x", "integer"),
        ("DEMO_SESSION_SECONDS", "0", "greater than or equal to 1"),
        ("DEMO_SESSION_SECONDS", "nan", "less than or equal to 86400"),
        ("DEMO_NIGHT_SECONDS", "0.5", "greater than or equal to 1"),
        ("DEMO_NIGHT_SECONDS", "inf", "less than or equal to 86400"),
    ],
)
def test_a_bad_value_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    allowed: str,
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load_settings(QuoteSettings)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: ")
    assert allowed in said


@pytest.mark.parametrize(("path", "said"), [(None, "is required"), ("/no/such", "/no/such")])
def test_csv_needs_a_path_that_exists(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str | None,
    said: str,
) -> None:
    monkeypatch.setenv("QUOTE_MARKET", "csv")
    monkeypatch.setenv("DEMO_SEED", "x")
    if path is not None:
        monkeypatch.setenv("QUOTE_CSV_PATH", path)
    with pytest.raises(SystemExit):
        load_settings(QuoteSettings)
    errors = capsys.readouterr().err
    assert "QUOTE_CSV_PATH" in errors
    assert said in errors
    assert "DEMO_SEED" in errors, "all problems are said at once"


def test_the_demo_ignores_the_path_of_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUOTE_CSV_PATH", "/no/such")
    assert load_settings(QuoteSettings).market is MarketChoice.DEMO


def test_the_demo_never_imports_pandas_and_the_domain_never_grpc() -> None:
    program = """
import sys
import quote_svc.csv_file, quote_svc.demo_market, quote_svc.paging, quote_svc.running_clock
assert not {"grpc", "google.protobuf", "sqlalchemy", "pandas"} & sys.modules.keys()
import quote_svc.app
assert "pandas" not in sys.modules
import quote_svc.csv_market
assert "pandas" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
