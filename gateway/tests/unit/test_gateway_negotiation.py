import pytest

from gateway.negotiation import prefers_json


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", True),
        ("application/*", True),
        ("APPLICATION/JSON", True),
        ("application/json, text/plain, */*", True),
        ("application/json;q=0.9, text/html;q=0.8", True),
        ("text/html;q=0.1, application/json;q=0.2", True),
        ("application/json;q=0.5, */*;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("text/html", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/json, text/html", False),
        ("application/json;q=0.1, */*", False),
        ("application/json;q=0, */*;q=0.5", False),
        ("application/json;q=0", False),
        ("application/json;q=nonsense", False),
        ("application/json;q=2", False),
        ("text/html;q=0.9, application/*;q=0.8", False),
        (";;;,,/", False),
    ],
)
def test_json_is_chosen_by_quality_then_by_exactness(accept: str, expected: bool) -> None:
    assert prefers_json(accept) is expected
