"""Free ports of loopback, for whoever starts processes that must know of each other before."""

import random
import socket
from contextlib import ExitStack

# Below what Linux and macOS give to outgoing connections: one of those could take a port between
# the moment that it is found free and the moment that a process listens on it.
_PORTS = range(20_000, 32_000)
_MOST_TRIES = 1000
# Not the module's own numbers: tests that seed them would have all processes try the same ports.
_chance = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """So many different ports that nothing listens on. Raises OSError where none are to be had."""
    found: list[int] = []
    with ExitStack() as held:  # until all are found, so that none is found twice
        for port in _chance.sample(_PORTS, _MOST_TRIES):
            if len(found) == count:
                break
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    if len(found) < count:
        raise OSError(f"{_MOST_TRIES} ports of loopback are all taken")
    return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]
