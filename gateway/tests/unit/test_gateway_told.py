import re
from pathlib import Path

from gateway.languages import languages, speaking
from gateway.told import _SENTENCES, told

SOURCES = ("protos", "subscription-svc", "quote-svc", "prediction-svc", "gateway")


def test_english_is_left_as_the_service_wrote_it() -> None:
    assert told("AAPL is not traded on this market.") == "AAPL is not traded on this market."


def test_what_a_sentence_names_is_put_into_the_other_language() -> None:
    with speaking(languages()["zh-Hans"]):
        assert told("AAPL is not traded on this market.") == "AAPL 不在此市场交易。"
        assert told("training (model 2 of 5)") == "训练模型（第 2 个，共 5 个）"
        assert told("Something that no service says.") == "Something that no service says."
        assert told("") == ""


def test_every_sentence_is_one_that_somebody_says() -> None:
    root = Path(__file__).parents[3]
    sources = "".join(
        path.read_text()
        for folder in SOURCES
        for path in (root / folder / "src").rglob("*.py")
        if path.name != "told.py"
    )
    # As the code has it: broken into lines, with expressions where something is named.
    said = re.sub(r'"\s*\n\s*f?"', "", sources)
    for sentence in _SENTENCES:
        for words in re.split(r"%\(\w+\)s", sentence):
            assert words.strip() in said, sentence
