"""The composition root of the gateway."""

import asyncio
import logging
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp_session
from aiohttp import web

from foretick_rpc.errors import StartupError
from gateway import (
    views_account,
    views_admin,
    views_import,
    views_lists,
    views_live,
    views_look,
    views_probe,
    views_record,
    views_search,
    views_sign_in,
    views_symbol,
    views_watchlist,
)
from gateway.access import setup_access
from gateway.account_events import account_events
from gateway.assets import ASSETS, load_assets, static_file
from gateway.backends import KNOWN_SIGN_INS, backends
from gateway.boarding import boarding, end_live
from gateway.csrf import CSRF, CsrfTokens, refuse_forged
from gateway.forms import MAX_BODY_BYTES
from gateway.keeping import PAGES, PARTS, KeptParts
from gateway.key_files import csrf_key, session_keys
from gateway.known_sign_ins import KnownSignIns
from gateway.middlewares import (
    REQUEST_LOG,
    RequestLog,
    add_headers,
    answer_errors,
    identify,
    meet_visitor,
    tell_malformed_briefly,
)
from gateway.pages import setup_pages
from gateway.settings import SETTINGS, GatewaySettings
from gateway.sign_in_cookie import SignInCookieStorage
from gateway.streams import OPEN_STREAMS, OpenStreams
from gateway.undo import UNDO, UndoSeal

_log = logging.getLogger("foretick.gateway")

# A symbol of 10 kB in an address is answered like any other bad symbol.
MAX_LINE_BYTES = 32 * 1024
DRAIN_SECONDS = 5.0
MOST_PARTS = 256  # some 60 kB each


def create_app(settings: GatewaySettings) -> web.Application:
    """Build the application; it calls the services at the settings' targets once it runs.

    Raises `StartupError` where the key files below the data folder can't be used.
    """
    storage = SignInCookieStorage(session_keys(settings.data_dir))
    app = web.Application(
        client_max_size=MAX_BODY_BYTES,
        # The session's is outside of the errors', so that an error page can end a sign-in.
        middlewares=[
            identify,
            meet_visitor,
            aiohttp_session.session_middleware(storage),
            answer_errors,
            refuse_forged,
        ],
    )
    # aiohttp-session keys its entries of a request by strings, and can do no other.
    warnings.filterwarnings("ignore", category=web.NotAppKeyWarning, module="aiohttp_session")
    app[SETTINGS] = settings
    app[ASSETS] = load_assets()
    form_key = csrf_key(settings.data_dir)
    app[CSRF] = CsrfTokens(form_key)
    app[UNDO] = UndoSeal(form_key, time.time)
    app[REQUEST_LOG] = RequestLog()
    setup_access(app)
    setup_pages(app)
    app.on_response_prepare.append(add_headers)
    app[PARTS], app[PAGES] = KeptParts(MOST_PARTS), KeptParts(MOST_PARTS)
    app[OPEN_STREAMS] = OpenStreams()
    app[KNOWN_SIGN_INS] = KnownSignIns()
    app.cleanup_ctx.extend([backends, boarding, account_events])
    app.on_shutdown.append(end_live)
    _add_routes(app)
    return app


def _add_routes(app: web.Application) -> None:
    app.add_routes(
        [
            web.get("/", views_probe.root),
            web.get("/register", views_sign_in.register_page),
            web.post("/register", views_sign_in.register),
            web.get("/login", views_sign_in.login_page),
            web.post("/login", views_sign_in.login),
            web.post("/logout", views_sign_in.logout),
            web.get("/forgot", views_sign_in.forgot_page),
            web.post("/forgot", views_sign_in.forgot),
            web.get("/reset-password", views_sign_in.reset_page),
            web.post("/reset-password", views_sign_in.reset),
            web.get("/account", views_account.account_page),
            web.post("/account/email", views_account.change_email),
            web.post("/account/password", views_account.change_password),
            web.get("/account/devices", views_account.devices_page),
            web.post("/account/devices/revoke-others", views_account.revoke_other_devices),
            web.post("/account/devices/{device_id}/revoke", views_account.revoke_device),
            web.get("/account/log", views_account.log_page),
            web.post("/account/export", views_account.export),
            web.get("/account/delete", views_account.delete_page),
            web.post("/account/delete", views_account.delete),
            web.get("/admin", views_admin.admin_page),
            web.post(
                "/admin/accounts/{account_id}/{change:disable|enable}", views_admin.set_disabled
            ),
            web.post("/admin/accounts/{account_id}/reset-link", views_admin.make_reset_link),
            web.post("/admin/invitations", views_admin.invite),
            web.post("/admin/invitations/{invitation_id}/withdraw", views_admin.withdraw),
            web.get("/subscribeList", views_watchlist.subscribe_list),
            web.post("/subscriptions", views_watchlist.add),
            web.post("/subscriptions/{symbol}/delete", views_watchlist.remove),
            web.get("/lists", views_lists.lists_page),
            web.post("/lists", views_lists.create),
            web.post("/lists/order", views_lists.reorder_lists),
            web.get("/lists/{list_id}", views_lists.list_page),
            web.post("/lists/{list_id}/rename", views_lists.rename),
            web.post("/lists/{list_id}/delete", views_lists.delete),
            web.post("/lists/{list_id}/move", views_lists.move_list),
            web.post("/lists/{list_id}/order", views_lists.reorder),
            web.get("/lists/{list_id}/export.csv", views_import.export),
            web.get("/lists/{list_id}/import", views_import.import_page),
            web.post("/lists/{list_id}/import", views_import.preview),
            web.post("/lists/{list_id}/import/commit", views_import.commit),
            web.post("/lists/{list_id}/subscriptions/{symbol}/list", views_lists.move_to_list),
            web.post("/lists/{list_id}/subscriptions/{symbol}/move", views_lists.move),
            web.post("/lists/{list_id}/subscriptions/{symbol}/note", views_lists.note),
            web.post("/undo", views_lists.undo),
            web.get("/search", views_search.search),
            web.post("/look", views_look.choose),
            web.get("/symbols/{symbol}", views_symbol.symbol_page),
            web.get("/symbols/{symbol}/history", views_symbol.history),
            web.get("/track-record", views_record.track_record),
            web.get("/track-record/words", views_record.words),
            web.get("/ledger/{number:[0-9]{1,18}}", views_record.ledger_entry),
            web.get("/events", views_live.events),
            web.get("/healthz", views_probe.healthz),
            web.get("/readyz", views_probe.readyz),
            web.get("/static/{name}", static_file),
        ]
    )


@asynccontextmanager
async def running(
    settings: GatewaySettings, *, reuse_port: bool | None = None
) -> AsyncIterator[int]:
    """Serve while entered; yields the bound port, and raises `StartupError` if it is taken.

    With ``reuse_port`` other processes of this user may serve on the same port.
    """
    logging.getLogger("aiohttp.server").addFilter(tell_malformed_briefly)
    runner = web.AppRunner(
        create_app(settings),
        access_log=None,  # it halves what the gateway can serve
        max_line_size=MAX_LINE_BYTES,
        shutdown_timeout=DRAIN_SECONDS,
        # Who leaves an open page is noticed at once.
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, reuse_port=reuse_port)
        try:
            await site.start()
        except OSError as error:
            raise StartupError(
                f"cannot listen on {settings.host}:{settings.port} (GATEWAY_HOST, GATEWAY_PORT): "
                f"{error.strerror or error}"
            ) from error
        port = int(runner.addresses[0][1])
        _log.info("serving on http://%s:%d", settings.host, port)
        yield port
    finally:
        await asyncio.shield(runner.cleanup())
