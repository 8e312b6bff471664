"""Settings, from environment variables."""

from pydantic import Field

from foretick_rpc.settings import RpcSettings


class PredictionSettings(RpcSettings):
    """Where the service listens, whom it asks for prices, and where it keeps what it made."""

    listen: str = Field("127.0.0.1:50052", validation_alias="PREDICTION_LISTEN")
    quote_target: str = Field("127.0.0.1:50051", validation_alias="QUOTE_TARGET")
    database_url: str | None = Field(None, validation_alias="PREDICTION_DATABASE_URL")

    metrics_listen: str = Field(
        "", pattern=r"^(|.+:[0-9]{1,5})$", validation_alias="PREDICTION_METRICS_LISTEN"
    )

    @property
    def database(self) -> str:
        """Where the database is: prediction.db below the data folder where nothing is said."""
        return self.database_url or self.sqlite_url("prediction.db")
