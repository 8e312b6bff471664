"""Settings of the gateway."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from foretick_rpc.settings import RpcSettings
from gateway.processes import MOST_PROCESSES


class GatewaySettings(RpcSettings):
    """Where the gateway listens and whom it calls."""

    host: str = Field(default="127.0.0.1", validation_alias="GATEWAY_HOST")
    port: int = Field(default=8080, ge=0, le=65535, validation_alias="GATEWAY_PORT")
    # More than one: see processes.py, which reads it before anything else is imported.
    processes: int = Field(default=1, ge=1, le=MOST_PROCESSES, validation_alias="GATEWAY_PROCESSES")
    # False, since browsers drop Secure cookies of plain HTTP, and localhost has no TLS.
    secure_cookies: bool = Field(default=False, validation_alias="GATEWAY_SECURE_COOKIES")
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), validation_alias="GATEWAY_TRUSTED_PROXIES"
    )
    # Whether people who are not signed in may read the track record and the ledger.
    public_record: bool = Field(default=False, validation_alias="GATEWAY_PUBLIC_RECORD")
    quote_target: str = Field(default="127.0.0.1:50051", validation_alias="QUOTE_TARGET")
    prediction_target: str = Field(default="127.0.0.1:50052", validation_alias="PREDICTION_TARGET")
    subscription_target: str = Field(
        default="127.0.0.1:50053", validation_alias="SUBSCRIPTION_TARGET"
    )

    # Off, pages ask the services each time; it is there to be measured against.
    board: Literal["on", "off"] = Field(default="on", validation_alias="GATEWAY_BOARD")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(ip_network(each.strip()) for each in value.split(",") if each.strip())
        except ValueError as error:
            raise ValueError(
                f"{error}; use addresses or networks like 10.0.0.0/8, separated by commas"
            ) from error


SETTINGS = web.AppKey("settings", GatewaySettings)
