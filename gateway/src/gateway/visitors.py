"""Who visits: what trusted proxies say of it, and the connection's own peer where none does."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

from gateway.model import Client
from gateway.problems import RequestError

WROTE_COOKIE = "foretick_wrote"
Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

# As proxies write it: "[2001:db8::1]:4711", "203.0.113.7:4711", or the bare address.
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d{1,5})?|([^:]*):\d{1,5}")
_HOST = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Visitor:
    """The address, empty where it is unknown; the host asked for; the scheme, None if unknown."""

    address: str
    host: str
    scheme: str | None


VISITOR = web.RequestKey("visitor", Visitor)


def client_of(request: web.Request) -> Client:
    """Where a request comes from, as it is kept beside what was done."""
    agent = request.headers.get("User-Agent", "").encode("utf-8", "surrogateescape")
    return Client(request[VISITOR].address, agent.decode("utf-8", "replace")[:300])


def own_origin(request: web.Request) -> str:
    """Scheme and host of this site as the visitor knows them; of a form's Origin if it has one."""
    visitor = request[VISITOR]
    said = f"{visitor.scheme or request.scheme}://{visitor.host}"
    return request.headers.get("Origin", said)


def is_tls(request: web.Request) -> bool:
    """Tell whether the visitor came by TLS."""
    return request[VISITOR].scheme == "https"


def cookie_name(request: web.Request, name: str) -> str:
    """The name of a cookie: by TLS one that no other host of the same domain can set."""
    return f"__Host-{name}" if is_tls(request) else name


def has_just_written(request: web.Request) -> bool:
    """Tell whether the sender has written something that this process may not have heard of."""
    return cookie_name(request, WROTE_COOKIE) in request.cookies


def unproxied(request: web.Request) -> Visitor:
    """The visitor as the connection shows it; TLS may still have ended at an unknown proxy."""
    return Visitor(request.remote or "", request.host.lower(), None)


def visitor_of(request: web.Request, trusted: Networks) -> Visitor:
    """Read the visitor of a request from the headers that ``trusted`` peers, and only they, send.

    Going back from the peer, the first address that is not trusted is the visitor's; scheme and
    host are what the last proxy before it was asked for. Raises `RequestError` 400 for a value
    that is none; what stands further back than the visitor was written by them, and is not read.
    """
    address = _address(request.remote or "")
    if address is None or not _is_trusted(address, trusted):
        return unproxied(request)
    proxies = 0
    for value in _backwards(request, "X-Forwarded-For"):
        address = _address(value)
        if address is None:
            raise _malformed("X-Forwarded-For", value, "IP addresses")
        proxies += 1
        if not _is_trusted(address, trusted):
            break
    scheme = _of_proxy(request, "X-Forwarded-Proto", proxies)
    if scheme not in {None, "http", "https"}:
        raise _malformed("X-Forwarded-Proto", scheme, "http or https")
    host = _of_proxy(request, "X-Forwarded-Host", proxies)
    if host is not None and not _HOST.fullmatch(host):
        raise _malformed("X-Forwarded-Host", host, "a host, or host:port")
    return Visitor(str(address), host or request.host.lower(), scheme)


def _backwards(request: web.Request, name: str) -> list[str]:
    """All values of a list header, of all its lines, the nearest proxy's first."""
    lines = ",".join(request.headers.getall(name, ()))
    return [value.strip().lower() for value in reversed(lines.split(","))] if lines else []


def _of_proxy(request: web.Request, name: str, number: int) -> str | None:
    # A proxy that sets a header anew, instead of adding to it, leaves fewer values than proxies.
    values = _backwards(request, name)
    return values[min(max(number, 1), len(values)) - 1] if values else None


def _address(value: str) -> Address | None:
    if match := _WITH_PORT.fullmatch(value):
        value = match[1] or match[2]
    try:
        address = ip_address(value)
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers in this form.
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _is_trusted(address: Address, trusted: Networks) -> bool:
    return any(address in network for network in trusted)


def _malformed(name: str, value: str | None, allowed: str) -> RequestError:
    message = f"The proxy's header {name} has {value!r:.80}; allowed are {allowed}."
    return RequestError(400, "FORWARDED_HEADER_MALFORMED", message)
