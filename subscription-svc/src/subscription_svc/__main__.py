"""Starts the service, or does what is asked: python -m subscription_svc [COMMAND]."""

import sys

from subscription_svc.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
