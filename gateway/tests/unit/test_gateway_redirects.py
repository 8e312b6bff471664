import pytest

from gateway.redirects import HOME, safe_next


@pytest.mark.parametrize("path", ["/", "/subscribeList", "/symbols/BRK.B?range=1y&x=%20"])
def test_paths_of_this_site_are_kept(path: str) -> None:
    assert safe_next(path) == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        "",
        "subscribeList",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/a\\b",
        "https://evil.example/",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=1",
        "/é",
        " /subscribeList",
        "/" + "a" * 600,
    ],
)
def test_other_sites_and_oddities_lead_home(elsewhere: str) -> None:
    assert safe_next(elsewhere) == HOME
