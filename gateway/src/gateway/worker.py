"""`python -m gateway.worker`: one of several gateway processes, started by processes.py."""

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from foretick_rpc.commands import run_service
from gateway.app import running
from gateway.settings import GatewaySettings


@asynccontextmanager
async def sharing(settings: GatewaySettings) -> AsyncIterator[int]:
    """Serve on a port that is shared; tell the parent once it is so, and end when the parent does.

    Raises `StartupError` as `running` does.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    async with running(settings, reuse_port=True) as port:
        print(port, flush=True)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads any more of it
        yield port


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_service(GatewaySettings, sharing, "gateway", migrates=False))
