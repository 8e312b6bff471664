"""The gateway with somebody who notes each change of its board: `python -m bench.observed_gateway`.

It answers each line of its input with the monotonic nanoseconds of the changes since the last one.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

from aiohttp import web

from foretick_rpc.commands import keep_out_of_collections
from foretick_rpc.settings import load_settings
from gateway.app import create_app
from gateway.boarding import BOARD
from gateway.settings import GatewaySettings


async def main() -> None:
    """Serve on a free port, which is printed, until standard input ends."""
    changes: list[int] = []

    async def observed(app: web.Application) -> AsyncIterator[None]:
        app[BOARD].listeners.insert(0, lambda _: changes.append(time.monotonic_ns()))
        yield

    app = create_app(load_settings(GatewaySettings))
    app.cleanup_ctx.append(observed)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    keep_out_of_collections()
    print(runner.addresses[0][1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(changes), flush=True)
        changes.clear()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
