"""Settings from environment variables, with all problems reported at once."""

import sys
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound=BaseSettings)


class RpcSettings(BaseSettings):
    """What every process needs to know; each service adds its own."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    service_token: SecretStr = Field(min_length=16, validation_alias="FORETICK_SERVICE_TOKEN")
    data_dir: Path = Field(default=Path(".foretick"), validation_alias="FORETICK_DATA_DIR")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="FORETICK_LOG_LEVEL"
    )

    def sqlite_url(self, name: str) -> str:
        """The address of the service's own SQLite file below the data folder."""
        return f"sqlite:///{self.data_dir / name}"


def load_settings(settings_type: type[S]) -> S:
    """Read the settings from the environment; print every problem and exit with 2 if any is bad."""
    try:
        return settings_type()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            where = ".".join(str(part) for part in problem["loc"]) or "settings"
            if where in settings_type.model_fields:  # a bad default goes by its field's name
                where = str(settings_type.model_fields[where].validation_alias)
            what = problem["msg"].removeprefix("Value error, ")
            print(f"{where}: {what}", file=sys.stderr)
        sys.exit(2)
