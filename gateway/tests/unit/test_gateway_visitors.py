"""Who visits: what is believed, of whom, and what is refused."""

from ipaddress import ip_network
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from pydantic import ValidationError

from foretick_rpc.testing import SERVICE_TOKEN
from gateway.problems import RequestError
from gateway.settings import GatewaySettings
from gateway.visitors import Visitor, visitor_of

TRUSTED = tuple(ip_network(each) for each in ("10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"))


def request(peer: str | None, *headers: tuple[str, str]) -> web.Request:
    transport = Mock()
    names = {"peername": (peer, 4711) if peer else None}
    transport.get_extra_info = lambda name, default=None: names.get(name, default)
    given = CIMultiDict([("Host", "Foretick.example"), *headers])
    return make_mocked_request("GET", "/", given, transport=transport)


def visitor(peer: str | None, forwarded: str, proto: str = "", host: str = "") -> Visitor:
    values = {
        "X-Forwarded-For": forwarded,
        "X-Forwarded-Proto": proto,
        "X-Forwarded-Host": host,
    }
    headers = [(name, value) for name, value in values.items() if value]
    return visitor_of(request(peer, *headers), TRUSTED)


@pytest.mark.parametrize("peer", ["203.0.113.9", "192.0.2.2", "2001:db8:2::1", "::ffff:11.0.0.1"])
def test_an_untrusted_peer_is_believed_nothing(peer: str) -> None:
    spoofed = visitor(peer, "10.0.0.1, nonsense", "https", "evil.example")
    assert spoofed == Visitor(peer, "foretick.example", None)


def test_nobody_is_trusted_unless_told() -> None:
    spoofed = request("127.0.0.1", ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"))
    assert visitor_of(spoofed, ()) == Visitor("127.0.0.1", "foretick.example", None)


def test_a_connection_without_an_address_is_not_trusted() -> None:
    assert visitor(None, "1.2.3.4", "https") == Visitor("", "foretick.example", None)


@pytest.mark.parametrize("peer", ["10.1.2.3", "192.0.2.1", "2001:db8:1::5", "::ffff:10.1.2.3"])
def test_a_trusted_proxy_is_believed(peer: str) -> None:
    seen = visitor(peer, "203.0.113.9", "HTTPS", "Shop.example:8443")
    assert seen == Visitor("203.0.113.9", "shop.example:8443", "https")


def test_a_trusted_proxy_need_not_say_everything() -> None:
    assert visitor("10.0.0.1", "") == Visitor("10.0.0.1", "foretick.example", None)
    assert visitor("10.0.0.1", "", "https") == Visitor("10.0.0.1", "foretick.example", "https")


@pytest.mark.parametrize(
    ("forwarded", "proto", "host", "seen"),
    [
        # Both proxies add what they saw; the outer one ended TLS.
        ("203.0.113.9, 10.0.0.7", "https, http", "a.example, inner:80", "a.example"),
        # The inner one passes what the outer one set.
        ("203.0.113.9, 10.0.0.7", "https", "a.example", "a.example"),
        # What a visitor has written before them stands further back, and is not even read.
        ("nonsense, 203.0.113.9, 10.0.0.7", "ftp, https, http", "<b>, a.example, x", "a.example"),
        ("10.0.0.3, 203.0.113.9, 10.0.0.7", "http, https, http", "e, a.example, x", "a.example"),
    ],
)
def test_a_chain_of_two_proxies(forwarded: str, proto: str, host: str, seen: str) -> None:
    expected = Visitor("203.0.113.9", seen, "https")
    assert visitor("10.0.0.8", forwarded, proto, host) == expected


def test_a_list_may_come_in_several_lines() -> None:
    chain = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-For", "10.0.0.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto", "http"),
    ]
    seen = visitor_of(request("10.0.0.8", *chain), TRUSTED)
    assert seen == Visitor("203.0.113.9", "foretick.example", "https")


def test_a_request_of_the_proxies_themselves_is_the_outermost_one_s() -> None:
    assert visitor("10.0.0.8", "10.0.0.6, 10.0.0.7").address == "10.0.0.6"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("[2001:DB8::9]:4711", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_addresses_may_come_with_ports_and_of_both_families(written: str, address: str) -> None:
    assert visitor("10.0.0.8", f"{written}, 2001:db8:1::1").address == address


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Forwarded-For", "nonsense"),
        ("X-Forwarded-For", "unknown"),
        ("X-Forwarded-For", "203.0.113.9,"),
        ("X-Forwarded-For", "1.2.3.4.5"),
        ("X-Forwarded-For", "[]:80"),
        ("X-Forwarded-For", "\x1b[0m"),
        ("X-Forwarded-Proto", "ftp"),
        ("X-Forwarded-Proto", "https,"),
        ("X-Forwarded-Host", "a b"),
        ("X-Forwarded-Host", "a.example/path"),
        ("X-Forwarded-Host", "user@a.example"),
        ("X-Forwarded-Host", "a.example:port"),
        ("X-Forwarded-Host", "a" * 9000),
    ],
)
def test_a_malformed_value_of_a_trusted_proxy_is_named(header: str, value: str) -> None:
    with pytest.raises(RequestError, match=header) as caught:
        visitor_of(request("10.0.0.8", (header, value)), TRUSTED)
    assert (caught.value.status, caught.value.reason) == (400, "FORWARDED_HEADER_MALFORMED")
    assert len(caught.value.message) < 250
    assert caught.value.message.isprintable()


def settings(proxies: str) -> GatewaySettings:
    names = {"FORETICK_SERVICE_TOKEN": SERVICE_TOKEN, "GATEWAY_TRUSTED_PROXIES": proxies}
    return GatewaySettings.model_validate(names)


def test_the_setting_takes_addresses_and_networks() -> None:
    assert settings("10.0.0.0/8, 192.0.2.1,2001:db8:1::/48").trusted_proxies == TRUSTED
    assert settings("").trusted_proxies == ()


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1;::1"])
def test_the_setting_says_what_is_wrong(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"use addresses or networks like 10\.0\.0\.0/8"):
        settings(wrong)
