"""Run inside a container as `reach.py HOST PORT`: prints `reached`, or why not."""

import socket
import sys

try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
except OSError as error:
    print(type(error).__name__)
else:
    print("reached")
