"""Starts quote-svc: `python -m quote_svc`."""

import sys

from foretick_rpc.commands import run_service
from quote_svc.app import running
from quote_svc.settings import QuoteSettings

sys.exit(run_service(QuoteSettings, running, "quote_svc"))
