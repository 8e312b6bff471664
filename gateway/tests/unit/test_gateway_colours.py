"""What is written can be read on all that may lie behind it, in light and in dark."""

import re
from pathlib import Path

import pytest

import gateway

SHEET = Path(gateway.__file__).parent / "static" / "app.css"
COLOURS = {
    name: schemes
    for name, *schemes in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", SHEET.read_text()
    )
}
INKS = ("text", "text-light", "accent", "green", "red")
GROUNDS = ("bg", "accent-bg", "flash", "warn")
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb, 0 to 1; WCAG 2.2."""
    shares = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("ink", INKS)
def test_every_ink_is_read_on_every_ground(ink: str, ground: str, scheme: int) -> None:
    dark, bright = sorted(luminance(COLOURS[name][scheme]) for name in (ink, ground))
    assert (bright + 0.05) / (dark + 0.05) >= LEAST_CONTRAST
