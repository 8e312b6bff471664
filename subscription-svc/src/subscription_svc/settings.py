"""Settings, from environment variables."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from foretick_rpc.settings import RpcSettings
from subscription_svc.invitations import RegistrationMode
from subscription_svc.mail import SmtpServer, parse_smtp_url


class SubscriptionSettings(RpcSettings):
    """Where the service listens and keeps what it knows, who can register, and how it mails."""

    listen: str = Field("127.0.0.1:50053", validation_alias="SUBSCRIPTION_LISTEN")
    # It may have a password in it.
    database_url: str | None = Field(None, validation_alias="SUBSCRIPTION_DATABASE_URL", repr=False)
    registration: RegistrationMode = Field(
        RegistrationMode.OPEN, validation_alias="SUBSCRIPTION_REGISTRATION"
    )
    smtp_url: SecretStr | None = Field(None, validation_alias="SUBSCRIPTION_SMTP_URL")
    mail_from: str = Field("", validation_alias="SUBSCRIPTION_MAIL_FROM")
    public_url: str = Field("http://localhost:8080", validation_alias="SUBSCRIPTION_PUBLIC_URL")

    @property
    def database(self) -> str:
        """Where the database is: subscription.db below the data folder where nothing is said."""
        return self.database_url or self.sqlite_url("subscription.db")

    @property
    def smtp_server(self) -> SmtpServer | None:
        """Where letters are handed over; None where none are sent."""
        return parse_smtp_url(self.smtp_url.get_secret_value()) if self.smtp_url else None

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parse_smtp_url(url.get_secret_value())
        return url

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
            raise ValueError("it must be like https://foretick.example.org")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_sender(self) -> Self:
        if self.smtp_url is not None and "@" not in self.mail_from:
            raise ValueError(
                "SUBSCRIPTION_MAIL_FROM must be an address like foretick@example.org "
                "where SUBSCRIPTION_SMTP_URL is set"
            )
        return self
