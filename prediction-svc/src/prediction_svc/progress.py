"""A progress bar for people who wait at a terminal."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 30


class ProgressBar:
    """One line that is drawn over and over; nothing where the stream is no terminal."""

    def __init__(
        self, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock()

    def show(self, fraction: float, stage: str) -> None:
        """Draw how much is done, 0 to 1, what is being done, and how long the rest may take."""
        if not self._stream.isatty():
            return
        elapsed = self._clock() - self._began
        left = f", {elapsed * (1 - fraction) / fraction:.0f} s left" if 0 < fraction < 1 else ""
        done = round(WIDTH * fraction)
        bar = "█" * done + "·" * (WIDTH - done)
        line = f"\r{bar} {fraction:4.0%} {stage} ({elapsed:.0f} s{left})\x1b[K"
        print(line, end="\n" if fraction >= 1 else "", file=self._stream, flush=True)
