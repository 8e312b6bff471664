"""`python -m bench [--only 1,4,…]`: measure, print a Markdown table, write bench/out/results.json.

The exit code is 0 where all that was wanted could be measured, whatever the figures are.
"""

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable

from bench import (
    accounts,
    chassis,
    cold_page,
    forecasts,
    gate,
    growth,
    history_columns,
    listing,
    live,
    memory,
    outages,
    subscriptions,
    watchlist_page,
)
from bench.reporting import HEADER, OUT, Entry, write_results

Wanted = frozenset[str]
# What is measured together, and by whom.
MEASURES: dict[tuple[str, ...], Callable[[Wanted], Iterable[Entry]]] = {
    ("1", "2", "3", "4"): watchlist_page.measure,
    ("5", "6"): lambda _: cold_page.measure(),
    ("7",): lambda _: live.measure(),
    ("8",): lambda _: chassis.measure(),
    ("9",): lambda _: subscriptions.measure(),
    ("10",): lambda _: outages.measure(),
    ("11",): lambda _: memory.measure(),
    ("12",): lambda _: growth.measure(),
    ("accounts",): lambda _: accounts.measure(),
    ("history",): lambda _: history_columns.measure(),
    ("listing",): lambda _: listing.measure(),
    ("forecasts",): lambda _: forecasts.measure(),
}
KNOWN = [name for names in MEASURES for name in names]


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="See bench/README.md.")
    parser.add_argument("--only", default="", help=f"some of {','.join(KNOWN)}")
    parser.add_argument("--gate", action="store_true", help="the fast gates, and nothing else")
    given = parser.parse_args()
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if given.gate:
        return gate.check()
    wanted = frozenset(given.only.split(",") if given.only else KNOWN)
    if unknown := wanted - frozenset(KNOWN):
        parser.error(f"there is no measure {', '.join(sorted(unknown))}")
    return _run(wanted)


def _run(wanted: Wanted) -> int:
    entries: list[Entry] = []
    failed: list[str] = []
    print(HEADER, flush=True)
    for names, measure in MEASURES.items():
        asked = wanted & frozenset(names)
        if not asked:
            continue
        begun = time.monotonic()
        try:
            for each in measure(asked):
                entries.append(each)
                print(each.row(), flush=True)
        except Exception:  # noqa: BLE001 - told whole; the other measures go on
            traceback.print_exc()
        failed += sorted(asked - {each.measure for each in entries})
        _say(f"{', '.join(sorted(asked))}: {time.monotonic() - begun:.0f} s")
    write_results(OUT / "results.json", entries)
    if failed:
        _say(f"not measured: {', '.join(failed)}")
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
