"""Where a call comes from, as far as its caller knows."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from subscription_svc.refusals import FieldInvalidError

MAX_USER_AGENT = 300


@dataclass(frozen=True)
class Client:
    """An IP address, empty where it is unknown, and what the browser says it is."""

    address: str = ""
    user_agent: str = ""

    @property
    def network(self) -> str:
        """What attempts are counted by: an IPv6 household has a /64, and may use all of it."""
        if ":" not in self.address:
            return self.address
        return str(ip_network((self.address, 64), strict=False).network_address)


def parse_client(address: str, user_agent: str) -> Client:
    """The client in one spelling and without control characters. Raises FieldInvalidError."""
    shown = "".join(c if c.isprintable() else " " for c in user_agent[:MAX_USER_AGENT])
    return Client(_parse_address(address), shown.strip())


def _parse_address(text: str) -> str:
    if not text:
        return ""
    try:
        address: IPv4Address | IPv6Address = ip_address(text[:100])
    except ValueError:
        message = "This must be an IP address like 192.0.2.1, or be left out."
        raise FieldInvalidError("client.address", message) from None
    if isinstance(address, IPv6Address):
        # Neither the form of dual sockets nor a network card's name makes it another client.
        address = address.ipv4_mapped or IPv6Address(int(address))
    return str(address)
