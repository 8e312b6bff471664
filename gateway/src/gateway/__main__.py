"""`python -m gateway`: serve until SIGTERM or SIGINT, with GATEWAY_PROCESSES processes."""

import os
import sys

from gateway.processes import plan, supervise


def main() -> int:
    """Serve, or do what the arguments say; the exit code."""
    wanted = plan(os.environ)
    if wanted is not None and not sys.argv[1:]:
        return supervise(wanted)
    # The parent of several processes does without all this.
    from foretick_rpc.commands import run_service  # noqa: PLC0415
    from gateway.app import running  # noqa: PLC0415
    from gateway.settings import GatewaySettings  # noqa: PLC0415

    return run_service(GatewaySettings, running, "gateway", migrates=False)


if __name__ == "__main__":
    sys.exit(main())
