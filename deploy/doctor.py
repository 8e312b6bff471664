"""`make doctor`: what is wrong with the Foretick of this machine, and what to do about it.

Looks at the Compose stack where it runs, and otherwise at what `make run` would find.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from pydantic import ValidationError

from foretick_rpc import doctor
from foretick_rpc.doctor import Finding
from foretick_rpc.settings import RpcSettings
from gateway.settings import GatewaySettings
from prediction_svc.settings import PredictionSettings
from quote_svc.settings import QuoteSettings
from run_local import port_problem
from subscription_svc.settings import SubscriptionSettings

SERVICES: dict[str, tuple[str, type[RpcSettings]]] = {
    "gateway": ("gateway", GatewaySettings),
    "quote-svc": ("quote_svc", QuoteSettings),
    "prediction-svc": ("prediction_svc", PredictionSettings),
    "subscription-svc": ("subscription_svc", SubscriptionSettings),
}
OLDEST_ENGINE = (20, 10)
FULL_PERCENT = 90


def main() -> int:
    """Look, print, and return 1 if anything is wrong."""
    load_dotenv(".env")
    if containers := stack_containers():
        print("The Compose stack:")
        found = tell(stack(containers))
        running = {row["Service"] for row in containers if row["State"] == "running"}
        for name, (package, _) in SERVICES.items():
            if name not in running:
                continue
            print(f"\n{name}, as its container sees it:", flush=True)
            command = ("exec", "-T", name, "python", "-m", package, "doctor")
            found = subprocess.run(["docker", "compose", *command], check=False).returncode or found
    else:
        print("What `make run` finds (the Compose stack does not run):")
        found = tell(local())
    print("\nAll is well." if not found else "\nWhat is WRONG says above what to do.")
    return int(bool(found))


def tell(findings: Iterator[Finding]) -> int:
    """Print findings; 1 if anything is wrong."""
    sick = 0
    for finding in findings:
        print(doctor.line(finding), flush=True)
        sick |= bool(finding.advice)
    return sick


def local() -> Iterator[Finding]:
    """What a run without Docker needs."""
    yield Finding(f"Python {sys.version.split()[0]}")
    yield doctor.clock()
    os.environ.setdefault("FORETICK_SERVICE_TOKEN", "made anew for each run")
    folder = Path(os.environ.get("FORETICK_DATA_DIR") or ".foretick")
    yield doctor.folder(folder)
    for name, (package, settings_type) in SERVICES.items():
        try:
            settings = settings_type()
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False):
                where = ".".join(str(part) for part in problem["loc"])
                yield Finding(f"{name}: {where}", f"{problem['msg']}; set it in .env")
            continue
        yield Finding(f"the settings of {name} can be read")
        if settings.database:
            yield asyncio.run(doctor.database(settings.database, package))
    yield _page(os.environ.get("GATEWAY_PORT") or "8080")


def _page(port: str) -> Finding:
    """The gateway and what it says of the services, or whether it could be started."""
    address = f"http://127.0.0.1:{port}"
    try:
        answer = _json(f"{address}/readyz")
    except (OSError, ValueError):
        problem = port_problem(port)
        if problem:
            return Finding(f"something else answers at {address}", problem)
        return Finding(f"nothing runs at {address}: `make run` can")
    down = [name for name, state in answer["services"].items() if state != "SERVING"]
    if down:
        return Finding(
            f"{', '.join(down)} cannot be reached by the gateway at {address}",
            "look into what `make run` or `make logs` prints of it",
        )
    return Finding(f"the gateway at {address} answers, and reaches all services")


def _json(url: str) -> Any:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
    # Loopback needs no proxy, whatever the proxy variables say.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def stack_containers() -> list[dict[str, Any]]:
    """The containers of the stack, if it runs and there is a Docker to ask."""
    if shutil.which("docker") is None:
        return []
    answer = _docker("compose", "ps", "--format", "json")
    lines = answer.splitlines() if answer else []
    # A list in early versions of Compose, since then an object a line.
    rows = [row for line in lines for row in _listed(json.loads(line))]
    return rows if any(row["Service"] == "postgres" for row in rows) else []


def stack(containers: list[dict[str, Any]]) -> Iterator[Finding]:
    """What the host knows of the stack."""
    version = _docker("version", "--format", "{{.Server.Version}}").strip()
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_ENGINE:
        yield Finding(f"Docker's engine is {version}", "20.10 or later is needed: upgrade it")
    else:
        yield Finding(f"Docker's engine is {version}")
    secrets = Path("deploy/secrets")
    if secrets.stat().st_mode & 0o077:
        yield Finding(f"others can read {secrets}", f"chmod 700 {secrets}")
    else:
        yield Finding(f"{secrets} is closed to others")
    for service in ("postgres", *SERVICES):
        states = [row["Health"] or row["State"] for row in containers if row["Service"] == service]
        if not states:
            yield Finding(f"{service} does not run", "make up starts it")
        elif set(states) != {"healthy"}:
            yield Finding(f"{service} is {', '.join(states)}", f"docker compose logs {service}")
        else:
            yield Finding(f"{service}: {len(states)} healthy")
    yield _disk()
    if address := _docker("compose", "port", "gateway", "8080").strip():
        yield _page(address.rpartition(":")[2])


def _disk() -> Finding:
    where = "/var/lib/postgresql/data"
    table = _docker("compose", "exec", "-T", "postgres", "df", "-Pk", where).split()
    if not table:
        return Finding("the disk of PostgreSQL could not be looked at", "make up starts it")
    used = int(table[-2].rstrip("%"))
    if used >= FULL_PERCENT:
        return Finding(f"the disk of PostgreSQL is {used} % full", "make room on it")
    return Finding(f"the disk of PostgreSQL is {used} % full")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _docker(*arguments: str) -> str:
    answer = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    return answer.stdout if not answer.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
