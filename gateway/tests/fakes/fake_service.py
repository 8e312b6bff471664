"""What all fakes of services have."""

from collections import Counter
from dataclasses import dataclass, field

from foretick_rpc.errors import AppError
from foretick_rpc.logs import request_id


@dataclass
class Fake:
    """A list of calls, and a knob to fail the next one."""

    calls: Counter[str] = field(default_factory=Counter)
    fail_next: AppError | None = None
    request_ids: set[str] = field(default_factory=set)

    def note(self, call: str) -> None:
        self.calls[call] += 1
        self.request_ids.add(request_id.get())
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
