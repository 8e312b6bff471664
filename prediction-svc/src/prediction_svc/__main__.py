"""Starts the service, or does what is asked: python -m prediction_svc [COMMAND]."""

import sys

if __name__ == "__main__":
    # spawned workers import this file as well, and need nothing of what follows
    from prediction_svc.cli import main

    sys.exit(main(sys.argv[1:]))
