"""Starts the service: python -m subscription_svc."""

import sys

from foretick_rpc.server import run_service
from subscription_svc.app import running
from subscription_svc.settings import SubscriptionSettings

if __name__ == "__main__":
    sys.exit(run_service(SubscriptionSettings, running))
