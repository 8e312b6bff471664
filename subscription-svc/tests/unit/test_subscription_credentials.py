"""What an e-mail address and a password may look like."""

import unicodedata

import pytest

from subscription_svc.credentials import (
    EmailAddress,
    check_new_password,
    normalise_password,
    parse_email,
)
from subscription_svc.refusals import FieldInvalidError

ANN = EmailAddress("Ann@x.test", "ann@x.test")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ann@example.org", "ann@example.org"),
        ("  Ann.B+tag@Example.ORG ", "ann.b+tag@example.org"),
        ("ann@nas.local", "ann@nas.local"),
        ("ann@x.test", "ann@x.test"),
        ("ann@home.lan", "ann@home.lan"),
        ("ann@box.home", "ann@box.home"),
        ("ann@xn--bcher-kva.example", "ann@bücher.example"),
        ("ANN@BÜCHER.example", "ann@bücher.example"),
        ("e\u0301@x.test", "\u00e9@x.test"),
        ("Ａｎｎ@x.test", "ann@x.test"),
        ("straße@x.test", "strasse@x.test"),
        ("Анна@x.test", "анна@x.test"),
        ("анна.1@x.test", "анна.1@x.test"),
        ("田中@x.test", "田中@x.test"),
        ("a" * 247 + "@x.test", "a" * 247 + "@x.test"),
    ],
)
def test_valid_addresses_have_a_key_that_spelling_does_not_change(text: str, key: str) -> None:
    address = parse_email(text)
    assert address == EmailAddress(unicodedata.normalize("NFC", text.strip()), key)
    assert parse_email(address.key).key == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ann",
        "@x.test",
        "ann@",
        "ann@gmail",  # a slip of the finger would stay for ever
        "a b@x.test",
        "Ann <ann@x.test>",
        "ann@x..test",
        "ann@[127.0.0.1]",
        "ann\0@x.test",
        "ann@x.test\r\nBcc: bob@x.test",
        "ann@x.invalid",
        "a" * 248 + "@x.test",
        "аnn@x.test",  # the first letter is Cyrillic
        "αnn@x.test",  # Greek
        "сор@x.test",  # all of them are Cyrillic
        "ann\u200b@x.test",
        "ann\u202e@x.test",
        "ann\x7f@x.test",
        "ann\ufe6bx.test",
        "a" * 1_000_000,
    ],
)
def test_invalid_addresses_are_refused(text: str) -> None:
    with pytest.raises(FieldInvalidError) as caught:
        parse_email(text)
    assert caught.value.field == "email"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "password", ["x" * 10, "x" * 200, "          ", "e\u0301" * 200, "\u1f00\u0300\u0345" * 200]
)
def test_passwords_of_10_to_200_characters_are_allowed(password: str) -> None:
    normalised = check_new_password(password, ANN.key, ANN.given)
    assert normalised == unicodedata.normalize("NFKC", password)
    assert normalised == normalise_password(password)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "x" * 9,
        "e\u0301" * 9,
        "x" * 201,
        "x" * 801,
        "x" * 1_000_000,
        "x" * 10 + "\0",
        "x" * 10 + "\n",
        "ann@X.test",
        "Ａnn@x.test",
    ],
)
def test_other_passwords_are_refused_without_being_quoted(password: str) -> None:
    with pytest.raises(FieldInvalidError) as caught:
        check_new_password(password, ANN.key, ANN.given)
    assert caught.value.field == "password"
    assert not password or password not in f"{caught.value!r}"


def test_no_character_is_composed_of_more_than_four() -> None:
    """What cutting overlong passwords relies on."""
    assert (
        max(
            len(unicodedata.normalize("NFD", chr(code)))
            for code in range(0x110000)
            if len(unicodedata.normalize("NFKC", unicodedata.normalize("NFD", chr(code)))) == 1
        )
        <= 4
    )


def test_overlong_passwords_are_cut_before_they_are_normalised() -> None:
    assert 200 < len(normalise_password("x" * 1_000_000)) <= 801
