"""Settings from environment variables, with all problems reported at once."""

import os
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

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

    @property
    def database(self) -> str:
        """The address of the service's own database; empty where it has none."""
        return ""

    @property
    def targets(self) -> dict[str, str]:
        """The addresses of the services that this one calls, by what comes before `_target`."""
        names = [name for name in type(self).model_fields if name.endswith("_target")]
        return {name.removesuffix("_target"): str(getattr(self, name)) for name in names}

    def sqlite_url(self, name: str) -> str:
        """The address of the service's own SQLite file below the data folder."""
        return f"sqlite:///{self.data_dir / name}"


def load_settings(settings_type: type[S], **given: Any) -> S:
    """Read the settings, but for those that are given; print all problems and exit with 2.

    They come from environment variables, and where one is not set, from the file of its name in
    the folder of secrets: FORETICK_SECRETS_DIR, or /run/secrets, where containers find theirs.
    """
    secrets = Path(os.environ.get("FORETICK_SECRETS_DIR") or "/run/secrets")
    try:
        return settings_type(_secrets_dir=secrets if secrets.is_dir() else None, **given)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            where = ".".join(str(part) for part in problem["loc"]) or "settings"
            if where in settings_type.model_fields:  # a bad default goes by its field's name
                where = str(settings_type.model_fields[where].validation_alias)
            what = problem["msg"].removeprefix("Value error, ")
            print(f"{where}: {what}", file=sys.stderr)
        sys.exit(2)
