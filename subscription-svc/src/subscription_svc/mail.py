"""Letters by SMTP, sent after the answer to whoever caused them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib

_log = logging.getLogger("foretick.mail")

SECONDS = 30.0  # for one letter
_MOST_WAITING = 100
_PORTS = {"smtp": 587, "smtps": 465}
_STARTTLS = {"required": True, "auto": None, "never": False}


@dataclass(frozen=True)
class Letter:
    """Plain text to one address."""

    to: str
    subject: str
    text: str


@dataclass(frozen=True)
class SmtpServer:
    """Where letters are handed over. `starttls` None: where the server offers it."""

    host: str
    port: int
    use_tls: bool
    starttls: bool | None
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        """Without what signs in there."""
        return f"SmtpServer({self.host}:{self.port})"


def parse_smtp_url(url: str) -> SmtpServer:
    """smtp[s]://[user:password@]host[:port][?starttls=required|auto|never].

    With a password STARTTLS is required unless something else is said, so that nobody on the way
    can have it. Raises ValueError, which doesn't quote the URL.
    """
    allowed = "it must be like smtp://user:password@mail.example.org:587?starttls=required"
    try:
        parts = urlsplit(url)
        port = parts.port
        query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError(allowed) from None
    password = None if parts.password is None else unquote(parts.password)
    starttls = query.pop("starttls", "auto" if password is None else "required")
    if parts.scheme not in _PORTS or not parts.hostname or query or starttls not in _STARTTLS:
        raise ValueError(allowed)
    use_tls = parts.scheme == "smtps"
    return SmtpServer(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        use_tls=use_tls,
        starttls=False if use_tls else _STARTTLS[starttls],
        username=None if parts.username is None else unquote(parts.username),
        password=password,
    )


Writing = Callable[[], Awaitable[Letter]]
"""Writes a letter when its turn has come."""


class Mailer:
    """Sends one letter after the other. What cannot be sent is logged and let go."""

    def __init__(self, server: SmtpServer | None, sender: str, seconds: float = SECONDS) -> None:
        self._server = server
        self._sender = sender
        self._seconds = seconds
        self._waiting: asyncio.Queue[Writing] = asyncio.Queue(_MOST_WAITING)

    @property
    def is_set_up(self) -> bool:
        """Whether there is a server to hand letters to."""
        return self._server is not None

    def post(self, write: Writing) -> None:
        """Have a letter written and sent, some time soon; at once returns to the caller."""
        if self._server is None:
            _log.info("a letter was not sent: there is no SUBSCRIPTION_SMTP_URL")
            return
        try:
            self._waiting.put_nowait(write)
        except asyncio.QueueFull:
            _log.warning("a letter was not sent: %d others are waiting", _MOST_WAITING)

    async def run(self) -> None:
        """Send what is posted, until cancelled."""
        task = asyncio.current_task()
        # On Python 3.11 `wait_for`, which the client uses, can swallow a cancellation.
        while task is None or not task.cancelling():
            write = await self._waiting.get()
            try:
                async with asyncio.timeout(self._seconds):
                    await self._send(await write())
            except TimeoutError:
                _log.warning("a letter was not sent: %.0f s have passed", self._seconds)
            except Exception as error:  # noqa: BLE001 - the next letter must not suffer from it
                # Neither the text nor the answers of servers, which quote addresses.
                _log.warning("a letter was not sent: %s", _named(error))

    async def _send(self, letter: Letter) -> None:
        server = self._server
        if server is None:
            return
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = letter.to
        message["Subject"] = letter.subject
        message["Date"] = formatdate(localtime=False)
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2].strip("> "))
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        await aiosmtplib.send(
            message,
            hostname=server.host,
            port=server.port,
            use_tls=server.use_tls,
            start_tls=server.starttls,
            username=server.username,
            password=server.password,
            timeout=self._seconds,
        )


def _named(error: Exception) -> str:
    code = getattr(error, "code", None)
    return type(error).__name__ + (f" {code}" if isinstance(code, int) else "")
