"""Settings, from environment variables."""

from pydantic import Field

from foretick_rpc.settings import RpcSettings


class SubscriptionSettings(RpcSettings):
    """Where the service listens and keeps what it knows."""

    listen: str = Field("127.0.0.1:50053", validation_alias="SUBSCRIPTION_LISTEN")
    database_url: str | None = Field(None, validation_alias="SUBSCRIPTION_DATABASE_URL")

    @property
    def database(self) -> str:
        """Where the database is: subscription.db below the data folder where nothing is said."""
        return self.database_url or self.sqlite_url("subscription.db")
