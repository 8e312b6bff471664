import pytest

from foretick_rpc.symbols import SYMBOL_RULE, parse_symbol


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("aapl", "AAPL"),
        ("  BRK-B\n", "BRK-B"),
        ("^gspc", "^GSPC"),
        ("EURUSD=X", "EURUSD=X"),
        ("7203.T", "7203.T"),
        ("A" * 32, "A" * 32),
    ],
)
def test_symbols_have_one_spelling(text: str, symbol: str) -> None:
    assert parse_symbol(text) == symbol


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "-A",
        "=X",
        "A B",
        "A/B",
        "A" * 33,
        "A\0",
        "ıbm",
        "\uff21\uff22",
        "ſ",
        "A,B",
        ".A",
        "<script>",
    ],
)
def test_what_cannot_be_a_symbol_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 32 of the characters") as caught:
        parse_symbol(text)
    assert str(caught.value) == SYMBOL_RULE
