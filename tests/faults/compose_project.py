"""A stack of its own, beside any other on this machine: it may be scaled, broken and wiped."""

import os
import subprocess
from pathlib import Path

from foretick_rpc.ports import free_port

ROOT = Path(__file__).parents[2]
SCALED = ("prediction-svc", "quote-svc", "subscription-svc")
SCALE = [argument for service in SCALED for argument in ("--scale", f"{service}=2")]


class Project:
    """One Compose project, reached at `url`."""

    def __init__(self, name: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": name,
            "GATEWAY_PORT": str(self.port),
            **settings,
        }

    def run(self, *command: str) -> str:
        """What a command prints that is run on the project; raises where it fails."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        said = (done.stdout + done.stderr)[-3000:]
        assert done.returncode == 0, f"{' '.join(command)}:\n{said}"
        return done.stdout

    def compose(self, *arguments: str) -> str:
        """What `docker compose` prints."""
        return self.run("docker", "compose", *arguments)

    def up(self, *arguments: str) -> None:
        """Bring it up, and wait until all is healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "300", *arguments)

    def wipe(self) -> None:
        """Take it down with all of its data."""
        self.compose("down", "--volumes", "--remove-orphans")

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "--quiet", service).split()

    def counts(self) -> dict[str, int]:
        """How many accounts, sign-ins and subscriptions there are."""
        tables = ("accounts", "sign_ins", "subscriptions")
        query = " UNION ALL ".join(
            f"SELECT '{each}', count(*) FROM {each}"  # noqa: S608 - names of our own
            for each in tables
        )
        psql = ("psql", "--username=postgres", "--dbname=subscription", "-At", "-c", query)
        rows = self.compose("exec", "-T", "postgres", *psql).split()
        return {name: int(count) for name, count in (row.split("|") for row in rows)}
