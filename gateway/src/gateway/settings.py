"""Settings of the gateway."""

from aiohttp import web
from pydantic import Field

from foretick_rpc.settings import RpcSettings


class GatewaySettings(RpcSettings):
    """Where the gateway listens and whom it calls."""

    host: str = Field(default="127.0.0.1", validation_alias="GATEWAY_HOST")
    port: int = Field(default=8080, ge=0, le=65535, validation_alias="GATEWAY_PORT")
    # False, since browsers drop Secure cookies of plain HTTP, and localhost has no TLS.
    secure_cookies: bool = Field(default=False, validation_alias="GATEWAY_SECURE_COOKIES")
    quote_target: str = Field(default="127.0.0.1:50051", validation_alias="QUOTE_TARGET")
    prediction_target: str = Field(default="127.0.0.1:50052", validation_alias="PREDICTION_TARGET")
    subscription_target: str = Field(
        default="127.0.0.1:50053", validation_alias="SUBSCRIPTION_TARGET"
    )


SETTINGS = web.AppKey("settings", GatewaySettings)
