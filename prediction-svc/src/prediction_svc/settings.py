"""Settings, from environment variables."""

from typing import Any

from pydantic import Field

from foretick_rpc.settings import RpcSettings


def _default_url(fields: dict[str, Any]) -> str:
    return f"sqlite:///{fields['data_dir']}/prediction.db"


class PredictionSettings(RpcSettings):
    """Where the service listens, whom it asks for prices, and where it keeps its models."""

    listen: str = Field("127.0.0.1:50052", validation_alias="PREDICTION_LISTEN")
    quote_target: str = Field("127.0.0.1:50051", validation_alias="QUOTE_TARGET")
    database_url: str = Field(
        default_factory=_default_url, validation_alias="PREDICTION_DATABASE_URL"
    )
