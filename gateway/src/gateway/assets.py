"""Static files, addressed by their content so that browsers may keep them for good."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from aiohttp import web

_TYPES = {"app.css": "text/css", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its content, media type and the hash that stands in its address."""

    content: bytes
    content_type: str
    version: str


def load_assets() -> dict[str, Asset]:
    """Read the package's static files, by name."""
    loaded = {}
    for name, content_type in _TYPES.items():
        content = files("gateway").joinpath("static", name).read_bytes()
        loaded[name] = Asset(content, content_type, hashlib.sha256(content).hexdigest()[:16])
    return loaded


ASSETS: web.AppKey[dict[str, Asset]] = web.AppKey("assets", dict)


def asset_url(assets: dict[str, Asset], name: str) -> str:
    """Return the address of a static file, with its hash."""
    return f"/static/{name}?v={assets[name].version}"


async def static_file(request: web.Request) -> web.Response:
    """Serve one static file."""
    asset = request.app[ASSETS].get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    is_current = request.query.get("v") == asset.version
    response = web.Response(body=asset.content, content_type=asset.content_type, charset="utf-8")
    response.headers["Cache-Control"] = (
        "public, max-age=31536000, immutable" if is_current else "no-cache"
    )
    return response
