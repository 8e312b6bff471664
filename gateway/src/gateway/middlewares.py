"""What happens around every request: id, log line, security headers, errors."""

import asyncio
import logging
import secrets
import time
from dataclasses import replace

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from foretick_rpc.logs import request_id
from gateway.access import forget_sign_in
from gateway.forms import MAX_BODY_BYTES
from gateway.languages import LANGUAGE_COOKIE, preferred, speak, spoken
from gateway.pages import error_page, see_other, wants_json
from gateway.problems import RequestError, SignedOutError
from gateway.redirects import login_url
from gateway.settings import SETTINGS
from gateway.visitors import VISITOR, is_tls, unproxied, visitor_of

_log = logging.getLogger("foretick.gateway")
SLOW_SECONDS = 1.0
SAMPLE_EVERY = 200

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    # Not "no-referrer": with that, browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LEFT = 499  # what is noted where the visitor has gone before the answer
_HSTS = "max-age=31536000"
_RETRY_AFTER_SECONDS = "5"

_MESSAGES = {
    404: ("NOT_FOUND", "There is no such page."),
    405: ("METHOD_NOT_ALLOWED", "This address does not take requests of this kind."),
    413: (
        "BODY_TOO_LARGE",
        f"The request is too large; at most {MAX_BODY_BYTES // 1024} kB are taken.",
    ),
}


class RequestLog:
    """A line for every request that is slow or fails here, and for a sample of the others."""

    def __init__(self) -> None:
        self._requests = 0

    def note(self, request: web.Request, status: int, seconds: float) -> None:
        """Log one request, or not; the query is left out, since it may be private."""
        self._requests += 1
        is_bad = status >= 500
        if is_bad or seconds >= SLOW_SECONDS or self._requests % SAMPLE_EVERY == 1:
            _log.log(
                logging.WARNING if is_bad else logging.INFO,
                "%s %s from %s answered %d in %.1f ms (request %d)",
                request.method,
                request.path[:200].encode("unicode_escape").decode(),
                request[VISITOR].address or "?",
                status,
                1000 * seconds,
                self._requests,
            )


REQUEST_LOG = web.AppKey("request_log", RequestLog)


def tell_malformed_briefly(record: logging.LogRecord) -> bool:
    """Make one line of what aiohttp says at length of a request that it could not even read."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "a malformed request: %s", (type(error).__name__,)
    return True


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, which calls to the services carry on; log it, and every fault."""
    request_id.set(secrets.token_hex(16))
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    speak(preferred(chosen, request.headers.get("Accept-Language", "")))
    started = time.perf_counter()
    status = 500
    request[VISITOR] = unproxied(request)
    try:
        response = await handler(request)
        status = response.status
    except web.HTTPException as error:
        status = error.status
        raise
    except asyncio.CancelledError:
        status = _LEFT
        raise
    except Exception:  # noqa: BLE001 - logged whole; the page says no more than the request id
        _log.exception("%s failed", request.method)
        message = "Something went wrong here. It has been noted; try again in a moment."
        response = error_page(request, RequestError(500, "INTERNAL", message))
    finally:
        request.app[REQUEST_LOG].note(request, status, time.perf_counter() - started)
    return response


@web.middleware
async def meet_visitor(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who visits, and by TLS or not; who came by TLS is given cookies for TLS only."""
    settings = request.app[SETTINGS]
    if settings.trusted_proxies:
        try:
            request[VISITOR] = visitor_of(request, settings.trusted_proxies)
        except RequestError as error:
            return error_page(request, error)
    if settings.secure_cookies:
        request[VISITOR] = replace(request[VISITOR], scheme="https")
    response = await handler(request)
    if is_tls(request):
        for cookie in response.cookies.values():
            cookie["secure"] = True
    return response


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what was refused into a page or JSON."""
    try:
        return await handler(request)
    except SignedOutError as error:
        await forget_sign_in(request)
        return error_page(request, error) if wants_json(request) else see_other(login_url(request))
    except RequestError as error:
        return error_page(request, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        reason, message = _MESSAGES.get(error.status, ("BAD_REQUEST", error.reason))
        response = error_page(request, RequestError(error.status, reason, message))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers and the request id on a response that is about to be sent."""
    response.headers.extend(SECURITY_HEADERS)  # nobody else sets any of them
    if is_tls(request):
        response.headers["Strict-Transport-Security"] = _HSTS
    if response.status in (429, 503):
        response.headers.setdefault("Retry-After", _RETRY_AFTER_SECONDS)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Accept, Accept-Language, Cookie"
        response.headers["Content-Language"] = spoken().code
    response.headers["X-Request-ID"] = request_id.get()
