"""The whole product on one machine: four processes, SQLite, no Docker.

`python deploy/run_local.py` runs gateway and services under one supervisor until Ctrl-C, or until
one of them dies; settings come from the environment, and from a file `.env` where there is one.
"""

import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from dotenv import load_dotenv
from honcho.manager import Manager
from honcho.printer import Message, Printer

from foretick_rpc.healthcheck import is_serving
from foretick_rpc.ports import free_port

SERVICES = {
    "quote-svc": ("quote_svc", "QUOTE"),
    "prediction-svc": ("prediction_svc", "PREDICTION"),
    "subscription-svc": ("subscription_svc", "SUBSCRIPTION"),
}
READY_WITHIN_SECONDS = 180
STOPPED_BY_SIGNAL = (130, 143)


class FirstToStop(Printer):  # type: ignore[misc]  # honcho has no types
    """Prints what the supervisor and the processes say, and notes which process stopped first."""

    name = ""

    def write(self, message: Message) -> None:
        """Print a message; the supervisor's own carry the name 'system'."""
        if message.name == "system" and not self.name and " stopped (rc=" in message.data:
            self.name = message.data.split()[0]
        super().write(message)


def main() -> int:
    """Run the product; the exit code is 0 after Ctrl-C."""
    load_dotenv(".env")
    port = os.environ.get("GATEWAY_PORT") or "8080"
    if problem := port_problem(port):
        print(problem, file=sys.stderr)
        return 1
    environment = local_environment()
    # The processes' own lines carry the time.
    printer = FirstToStop(sys.stdout, time_format="")
    manager = Manager(printer)
    for name, (module, _) in {**SERVICES, "gateway": ("gateway", "")}.items():
        command = shlex.join([sys.executable, "-m", module])
        manager.add_process(name, f"exec {command}", env=environment)
    # For commands that speak to the services while they run.
    noted = note_running(environment)
    # A process of its own, since the supervisor forks and threads do not survive that.
    announcer = subprocess.Popen([sys.executable, __file__, "announce"], env=environment)
    try:
        manager.loop()
    finally:
        announcer.terminate()
        announcer.wait()
        noted.unlink(missing_ok=True)
    if manager.returncode in STOPPED_BY_SIGNAL:
        print("Foretick has stopped.")
        return 0
    code = manager.returncode
    print(f"{printer.name} died (exit code {code}); its last lines above say why.", file=sys.stderr)
    return 1


def local_environment() -> dict[str, str]:
    """The environment of the processes: ours, and internal addresses on free loopback ports."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.setdefault("GATEWAY_PORT", "8080")
    # Worker threads with arenas of their own cost memory and win nothing here.
    environment.setdefault("MALLOC_ARENA_MAX", "1")
    # What gRPC's core logs by itself, the services say in words of their own.
    environment.setdefault("GRPC_VERBOSITY", "NONE")
    environment.setdefault("FORETICK_SERVICE_TOKEN", secrets.token_urlsafe(32))
    environment["FORETICK_DATA_DIR"] = str(
        Path(environment.get("FORETICK_DATA_DIR") or ".foretick").absolute()
    )
    for _, prefix in SERVICES.values():
        address = f"127.0.0.1:{free_port()}"
        environment[f"{prefix}_LISTEN"] = environment[f"{prefix}_TARGET"] = address
    return environment


def note_running(environment: Mapping[str, str]) -> Path:
    """Write where the services are, and their token, to a file that the owner alone can read."""
    path = Path(environment["FORETICK_DATA_DIR"]) / "running.env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # one that was left there may be readable by others
    names = ["FORETICK_DATA_DIR", "FORETICK_SERVICE_TOKEN"]
    names += [f"{prefix}_TARGET" for _, prefix in SERVICES.values()]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={shlex.quote(environment[name])}\n" for name in names)
    return path


def port_problem(port: str) -> str:
    """Why the gateway cannot listen on `port`; empty if it can."""
    if not port.isdigit() or not 1 <= int(port) <= 65535:
        return f"GATEWAY_PORT: {port!r} is not a port; use a number from 1 to 65535."
    host = os.environ.get("GATEWAY_HOST") or "127.0.0.1"
    try:
        socket.create_server((host, int(port))).close()
    except OSError as error:
        return (
            f"GATEWAY_PORT: cannot listen on {host}:{port} ({error.strerror}); "
            "another program may use it. Try: GATEWAY_PORT=8081 make run"
        )
    return ""


def announce() -> int:
    """Wait until the product answers, then say where; give up after three minutes."""
    targets = {name: os.environ[f"{prefix}_TARGET"] for name, (_, prefix) in SERVICES.items()}
    page = f"http://localhost:{os.environ['GATEWAY_PORT']}"
    give_up = time.monotonic() + READY_WITHIN_SECONDS
    while not (all(is_serving(t, 1) for t in targets.values()) and _answers(f"{page}/readyz")):
        if time.monotonic() > give_up:
            print("Foretick is not ready after three minutes; the log says why.", file=sys.stderr)
            return 1
        time.sleep(0.2)
    print(f"\n  Foretick is up: {page}   (Ctrl-C stops it)")
    print("  gRPC: " + ", ".join(f"{name} {target}" for name, target in targets.items()))
    print(f"  data: {os.environ['FORETICK_DATA_DIR']}\n", flush=True)
    return 0


def _answers(url: str) -> bool:
    # Loopback needs no proxy, whatever the proxy variables say.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    try:
        sys.exit(announce() if sys.argv[1:] == ["announce"] else main())
    except KeyboardInterrupt:
        sys.exit(0)
