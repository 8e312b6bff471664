"""Free ports of loopback, for whoever starts processes that must know of each other before."""

import random
import socket

# Below what Linux and macOS give to outgoing connections: one of those could take a port between
# the moment that it is found free and the moment that a process listens on it.
_FIRST, _END = 20_000, 32_000
# Each is given once in the life of a process. Not shuffled by the module's own numbers: tests that
# seed them would have all processes try the same ports.
_untried = random.SystemRandom().sample(range(_FIRST, _END), _END - _FIRST)


def free_port() -> int:
    """A port that nothing listens on, each time another. Raises OSError where none is left."""
    while _untried:
        port = _untried.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"the ports {_FIRST} to {_END - 1} of loopback are all taken")
