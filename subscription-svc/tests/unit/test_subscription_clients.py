"""Where calls come from."""

import pytest

from subscription_svc.clients import parse_client
from subscription_svc.refusals import FieldInvalidError


@pytest.mark.parametrize(
    ("address", "kept", "network"),
    [
        ("", "", ""),
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:1:0:0:0:7", "2001:db8:0:1::7", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::1", "fe80::"),
    ],
)
def test_an_address_has_one_spelling_and_a_network(address: str, kept: str, network: str) -> None:
    client = parse_client(address, "")
    assert (client.address, client.network) == (kept, network)


@pytest.mark.parametrize("address", ["localhost", "192.0.2.7:80", "1" * 10_000, " ", "\0"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(FieldInvalidError) as caught:
        parse_client(address, "")
    assert caught.value.field == "client.address"
    assert len(str(caught.value)) < 100


def test_a_user_agent_is_cut_and_has_nothing_that_moves_the_cursor() -> None:
    assert parse_client("", "a\x1b[2J\u202eb\0" + "c" * 1000).user_agent == ("a [2J b " + "c" * 292)
