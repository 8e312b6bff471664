"""Run inside a container: prints as JSON what the processes there may do."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path


def refusal(folder: str) -> str:
    """The name of the error of writing below `folder`; empty where it can be written."""
    path = Path(folder) / "smoke-probe"
    try:
        path.touch()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    path.unlink()
    return ""


# The first process of the container is Docker's own, with the limits that all others inherit.
status = dict(
    line.split(":\t", 1)
    for line in Path("/proc/1/status").read_text().splitlines()
    if ":\t" in line
)
FOLDERS = ("/", "/foretick", "/venv/bin", "/tmp")  # noqa: S108 - of the container alone

json.dump(
    {
        "uid": os.getuid(),
        "capabilities": {name: int(status[name], 16) for name in status if name.startswith("Cap")},
        "no_new_privileges": status["NoNewPrivs"],
        "refusals": {folder: refusal(folder) for folder in FOLDERS},
        "compilers": [name for name in ("cc", "gcc", "g++", "clang") if shutil.which(name)],
    },
    sys.stdout,
)
