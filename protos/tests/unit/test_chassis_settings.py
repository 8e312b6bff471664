"""Settings: from variables, and from files for what is secret."""

from pathlib import Path

import pytest
from pydantic import Field

from foretick_rpc.settings import RpcSettings, load_settings

TOKEN = "sixteen characters and more"


class Settings(RpcSettings):
    """Those of a service."""

    database_url: str | None = Field(None, validation_alias="A_DATABASE_URL")
    quote_target: str = Field("127.0.0.1:50051", validation_alias="QUOTE_TARGET")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("FORETICK_SERVICE_TOKEN", "A_DATABASE_URL", "QUOTE_TARGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORETICK_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_secret_is_read_from_the_file_of_its_name(nothing_set: Path) -> None:
    (nothing_set / "FORETICK_SERVICE_TOKEN").write_text(f"{TOKEN}\n")
    (nothing_set / "A_DATABASE_URL").write_text("postgresql://a:b@c/d\n")
    settings = load_settings(Settings)
    assert settings.service_token.get_secret_value() == TOKEN
    assert settings.database_url == "postgresql://a:b@c/d"


def test_a_variable_goes_before_a_file(nothing_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nothing_set / "FORETICK_SERVICE_TOKEN").write_text("the one of the file, not wanted")
    monkeypatch.setenv("FORETICK_SERVICE_TOKEN", TOKEN)
    assert load_settings(Settings).service_token.get_secret_value() == TOKEN


def test_a_missing_folder_of_secrets_is_no_trouble(
    nothing_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETICK_SECRETS_DIR", str(nothing_set / "none"))
    monkeypatch.setenv("FORETICK_SERVICE_TOKEN", TOKEN)
    assert load_settings(Settings).database_url is None


def test_all_problems_are_told_by_the_names_of_the_variables(
    nothing_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORETICK_SERVICE_TOKEN", "short")
    monkeypatch.setenv("FORETICK_LOG_LEVEL", "LOUD")
    with pytest.raises(SystemExit, match="2"):
        load_settings(Settings)
    told = capsys.readouterr().err
    assert "FORETICK_SERVICE_TOKEN" in told
    assert "FORETICK_LOG_LEVEL" in told
    assert "short" not in told


def test_what_it_calls_is_told_by_name() -> None:
    settings = Settings(service_token=TOKEN, quote_target="quotes:1")
    assert settings.targets == {"quote": "quotes:1"}
    assert settings.database == ""
