"""What may be called again when nobody knows whether it was done."""

from typing import Any

from foretick.quote.v1 import quote_pb2
from foretick.subscription.v1 import subscription_pb2
from foretick_rpc.client import _service_config


def repeated(service: Any) -> set[str]:
    config: Any = _service_config(service)
    return {name["method"] for each in config["methodConfig"] for name in each["name"]}


def test_only_what_the_contract_says_is_repeated() -> None:
    services = subscription_pb2.DESCRIPTOR.services_by_name
    lists = services["SubscriptionService"]
    assert repeated(lists) == {method.name for method in lists.methods}
    assert repeated(services["AccountService"]) == {
        "GetRegistration",
        "RevokeSignIn",
        "GetAccount",
        "ListDevices",
        "RevokeDevice",
        "RevokeOtherDevices",
        "ListAuditEvents",
    }
    assert repeated(services["AdministrationService"]) == {
        "ListAccounts",
        "SetAccountDisabled",
        "ListInvitations",
        "WithdrawInvitation",
    }


def test_every_unary_read_of_prices_is_repeated() -> None:
    service = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"]
    streams = {method.name for method in service.methods if method.name.startswith("Watch")}
    assert repeated(service) == {method.name for method in service.methods} - streams
