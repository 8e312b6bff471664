"""Static files, addressed by their content so that browsers may keep them for good."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

from aiohttp import web

from foretick_rpc.errors import StartupError

# By the name in the address: the media type, and the files below `static` that it is made of.
# What is in `vendor` comes from npm (deploy/install-assets).
_SERVED = {
    "app.css": ("text/css", ("vendor/simple.min.css", "app.css")),
    "app.webmanifest": ("application/manifest+json", ("app.webmanifest",)),
    "icon.svg": ("image/svg+xml", ("icon.svg",)),
    "icon-192.png": ("image/png", ("icon-192.png",)),
    "icon-512.png": ("image/png", ("icon-512.png",)),
    "live.js": ("text/javascript", ("live.js",)),
    "htmx.js": ("text/javascript", ("vendor/htmx.min.js",)),
    "search.js": ("text/javascript", ("search.js",)),
    "chart.js": ("text/javascript", ("chart.js",)),
    "refresh.js": ("text/javascript", ("refresh.js",)),
    "charts.js": ("text/javascript", ("vendor/lightweight-charts.standalone.production.js",)),
}
TAKES_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its content, also compressed, media type, and the hash that is in its address."""

    content: bytes
    compressed: bytes
    content_type: str
    version: str


def load_assets() -> dict[str, Asset]:
    """Read the static files, by name; raises `StartupError` where npm's are not there."""
    loaded = {}
    for name, (content_type, parts) in _SERVED.items():
        content = b"\n".join(_read(part) for part in parts)
        loaded[name] = Asset(
            content,
            gzip.compress(content, 9, mtime=0),
            content_type,
            hashlib.sha256(content).hexdigest()[:16],
        )
    return loaded


def _read(part: str) -> bytes:
    try:
        content = files("gateway").joinpath("static", part).read_bytes()
    except FileNotFoundError as error:
        raise StartupError(f"static/{part} is not there: `make setup` fetches it") from error
    # In a layer, whatever our own stylesheet says wins over the base, however it is selected.
    return b"@layer base{%b}" % content if part == "vendor/simple.min.css" else content


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
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if is_current else "no-cache",
        "Vary": "Accept-Encoding",
    }
    body = asset.content
    if TAKES_GZIP.search(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = asset.compressed
    is_text = asset.content_type != "image/png"
    return web.Response(
        body=body,
        content_type=asset.content_type,
        charset="utf-8" if is_text else None,
        headers=headers,
    )
