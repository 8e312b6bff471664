"""Yahoo as the tests have it, but slow: `python -m bench.upstream SECONDS SYMBOL…`."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

from aiohttp import web

from fake_yahoo import FakeYahoo
from yahoo_answers import Listing, sessions

SESSIONS = 500


class SlowYahoo(FakeYahoo):
    """Each chart takes so many seconds; any number of them go on at once."""

    seconds = 0.0

    async def _data(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.seconds)
        return await super()._data(request)


def listing(symbol: str) -> Listing:
    """Two years that end before today."""
    first = datetime.now(UTC).date() - timedelta(days=SESSIONS * 7 // 5 + 1)
    closes = [100 + len(symbol) + at % 17 / 8 for at in range(SESSIONS)]
    return Listing(symbol, sessions(first, SESSIONS), closes)


def main() -> None:
    """Serve until standard input ends; what a process needs to come here is printed as JSON."""
    seconds, *symbols = sys.argv[1:]
    with SlowYahoo({symbol: listing(symbol) for symbol in symbols}) as yahoo:
        yahoo.seconds = float(seconds)
        print(
            json.dumps({**yahoo.environment, "QUOTE_CA_BUNDLE": str(yahoo.ca_bundle)}), flush=True
        )
        sys.stdin.read()


if __name__ == "__main__":
    main()
