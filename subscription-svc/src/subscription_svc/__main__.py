"""Starts the service, or does what is asked: python -m subscription_svc [migrate|doctor]."""

import sys

from foretick_rpc.commands import run_service
from subscription_svc.app import running
from subscription_svc.settings import SubscriptionSettings

if __name__ == "__main__":
    sys.exit(run_service(SubscriptionSettings, running, "subscription_svc"))
