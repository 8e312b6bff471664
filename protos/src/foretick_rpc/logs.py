"""One log format for all services; each line carries the id of the request that it belongs to."""

import logging
import sys
from contextvars import ContextVar

NO_REQUEST = "-"
request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)


def configure(level: str) -> None:
    """Log to standard error at `level`; the supervisor or container adds the service's name."""

    class RequestIdFilter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.request_id = request_id.get()
            return True

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(
        logging.Formatter(
            "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s", "%H:%M:%S"
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Alembic narrates each start; only its warnings say something.
    logging.getLogger("alembic").setLevel(logging.WARNING)
