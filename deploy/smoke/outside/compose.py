"""The running stack, as `docker compose` shows it from the host."""

import json
import subprocess
from pathlib import Path
from typing import Any

PROBES = Path(__file__).parent.parent / "probes"
SECRETS = Path("deploy/secrets")
SERVICES = ("quote-svc", "prediction-svc", "subscription-svc")
OURS = ("gateway", *SERVICES)


def docker(*arguments: str, stdin: str | None = None) -> str:
    """The output of a docker command; fails with what it said where it fails."""
    answer = subprocess.run(
        ["docker", *arguments],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=120,
    )
    assert answer.returncode == 0, f"docker {' '.join(arguments)}: {answer.stderr}"
    return answer.stdout


def probe(service: str, name: str, *arguments: str) -> str:
    """What a script of `deploy/smoke/probes` prints inside a service's container."""
    script = (PROBES / f"{name}.py").read_text()
    command = ("compose", "exec", "-T", service, "python", "-", *arguments)
    return docker(*command, stdin=script).strip()


def containers() -> list[dict[str, Any]]:
    """What `docker inspect` says of the stack's running containers."""
    found: list[dict[str, Any]] = json.loads(
        docker("inspect", *docker("compose", "ps", "--quiet").split())
    )
    return found


def service_of(container: dict[str, Any]) -> str:
    """The service that a container runs."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])
