"""The settings of quote-svc, from environment variables."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, FilePath, ValidationInfo, field_validator

from foretick_rpc.settings import RpcSettings
from quote_svc.market import iso_date


class MarketChoice(StrEnum):
    """The markets that can be served."""

    DEMO = "demo"
    CSV = "csv"
    YAHOO = "yahoo"


def _as_of(value: object) -> date:
    try:
        return iso_date(str(value))
    except ValueError as error:
        raise ValueError(f"{str(value)!r} is not a date like 2019-12-31") from error


class QuoteSettings(RpcSettings):
    """What quote-svc needs to know."""

    listen: str = Field(default="127.0.0.1:50051", validation_alias="QUOTE_LISTEN")
    market: MarketChoice = Field(default=MarketChoice.DEMO, validation_alias="QUOTE_MARKET")
    csv_path: Path | None = Field(
        default=None, validate_default=True, validation_alias="QUOTE_CSV_PATH"
    )
    csv_exchange: str = Field(default="XNYS", validation_alias="QUOTE_CSV_EXCHANGE")
    csv_currency: str = Field(default="USD", validation_alias="QUOTE_CSV_CURRENCY")
    as_of: Annotated[date, BeforeValidator(_as_of)] | None = Field(
        default=None, validation_alias="QUOTE_AS_OF"
    )
    database_url: str | None = Field(default=None, validation_alias="QUOTE_DATABASE_URL")
    yahoo_rate: float = Field(default=2, gt=0, le=100, validation_alias="QUOTE_YAHOO_RATE")
    yahoo_at_once: int = Field(default=4, ge=2, le=100, validation_alias="QUOTE_YAHOO_AT_ONCE")
    ca_bundle: FilePath | None = Field(default=None, validation_alias="QUOTE_CA_BUNDLE")
    poll_seconds: float = Field(default=15, ge=1, le=3600, validation_alias="QUOTE_POLL_SECONDS")
    seed_file: FilePath | None = Field(default=None, validation_alias="QUOTE_SEED_FILE")
    control: bool = Field(default=False, validation_alias="QUOTE_CONTROL")
    demo_seed: int = Field(default=7, ge=0, validation_alias="DEMO_SEED")
    demo_session_seconds: float = Field(
        default=120, ge=1, le=86_400, validation_alias="DEMO_SESSION_SECONDS"
    )
    demo_night_seconds: float = Field(
        default=15, ge=1, le=86_400, validation_alias="DEMO_NIGHT_SECONDS"
    )
    demo_turmoil_after: int | None = Field(
        default=None, ge=0, validation_alias="DEMO_TURMOIL_AFTER"
    )

    @field_validator("csv_currency")
    @classmethod
    def _is_currency_code(cls, code: str) -> str:
        if not (len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
            raise ValueError(f"{code!r} is not an ISO 4217 code: three capitals like USD")
        return code

    @field_validator("csv_path")
    @classmethod
    def _is_there_if_needed(cls, path: Path | None, others: ValidationInfo) -> Path | None:
        if others.data.get("market") is not MarketChoice.CSV:
            return path
        if path is None:
            raise ValueError("QUOTE_CSV_PATH is required where QUOTE_MARKET is csv")
        if not path.exists():
            raise ValueError(f"there is no file or folder {path}")
        return path

    @field_validator("control")
    @classmethod
    def _has_a_clock_of_its_own(cls, control: bool, others: ValidationInfo) -> bool:
        if control and others.data.get("market") is MarketChoice.YAHOO:
            raise ValueError("a market that is demo or csv can be controlled, yahoo cannot")
        return control

    @property
    def database(self) -> str:
        """The address of the service's database."""
        return self.database_url or self.sqlite_url("quote.db")
