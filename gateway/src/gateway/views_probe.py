"""What probes and the root address get."""

from aiohttp import web

from gateway.backends import BACKENDS
from gateway.model import SUBSCRIPTION
from gateway.pages import json_page, see_other, wants_json
from gateway.redirects import HOME


async def root(_request: web.Request) -> web.Response:
    """GET /."""
    return see_other(HOME)


async def healthz(request: web.Request) -> web.Response:
    """GET /healthz: this process answers."""
    return json_page({"status": "ok"}) if wants_json(request) else web.Response(text="ok")


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: 200 if subscription-svc is serving; pages can do without the others."""
    services = await request.app[BACKENDS].health()
    is_ready = services[SUBSCRIPTION] == "SERVING"
    status = 200 if is_ready else 503
    if wants_json(request):
        return json_page({"ready": is_ready, "services": services}, status=status)
    lines = ["ready" if is_ready else f"not ready: {SUBSCRIPTION} is {services[SUBSCRIPTION]}"]
    lines += [f"{service}: {state}" for service, state in services.items()]
    return web.Response(text="\n".join(lines) + "\n", status=status)
