"""`python -m gateway`: serve until SIGTERM or SIGINT."""

import sys

from foretick_rpc.server import run_service
from gateway.app import running
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    sys.exit(run_service(GatewaySettings, running))
