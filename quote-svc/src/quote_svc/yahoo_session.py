"""The one way to Yahoo: every request goes through one bucket, one breaker and one judgement.

yfinance sends more requests than it is asked for: on any answer from 400 on it fetches a cookie,
a consent page and a crumb, and tries again. Answers that say why they failed are raised from
here as what they are, and so never reach that code.
"""

import email.utils
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from curl_cffi import CurlECode, requests
from curl_cffi.requests.exceptions import RequestException

from quote_svc.pacing import CircuitBreaker, Refusal, TokenBucket, Trouble
from quote_svc.source import Nonsense, RateLimited, SourceFailure, Unreachable
from quote_svc.yahoo_chart import mend_chart, read_json

_CHART = "/finance/chart/"
_TOO_MANY = (429, 999)  # 999 is Yahoo's own


def _now() -> datetime:
    return datetime.now(UTC)


class Gate:
    """Bucket and breaker behind one lock, for threads. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        bucket: TokenBucket,
        breaker: CircuitBreaker,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        wall: Callable[[], datetime] = _now,
    ) -> None:
        """`sleep` waits in a worker's thread; by default it ends early when the gate closes."""
        self._bucket = bucket
        self._breaker = breaker
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sleep = sleep or self._closing.wait

    def check(self) -> None:
        """Raises RateLimited or Unreachable while the breaker is open."""
        with self._lock:
            refused = self._breaker.refusal(self._clock())
        if refused is not None:
            raise self._failure(refused)

    def enter(self) -> int:
        """Waits for a token; the breaker's ticket. Raises as `check` does."""
        self.check()
        with self._lock:
            wait = self._bucket.reserve(self._clock())
        if wait > 0:
            self._sleep(wait)
        if self._closing.is_set():
            raise Unreachable("the service is stopping")
        with self._lock:
            admitted = self._breaker.admit(self._clock())
        if isinstance(admitted, Refusal):
            raise self._failure(admitted)
        return admitted

    def leave(self, ticket: int, failure: BaseException | None) -> None:
        """Tells the breaker how the call that `ticket` was for ended."""
        with self._lock:
            if isinstance(failure, RateLimited):
                self._breaker.rate_limited(ticket, self._clock(), failure.retry_after_seconds)
            elif failure is not None:
                self._breaker.failed(ticket, self._clock())
            else:
                self._breaker.succeeded(ticket)

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return self._wall()

    def close(self) -> None:
        """Lets nobody through any more, and wakes who waits."""
        self._closing.set()

    def _failure(self, refused: Refusal) -> SourceFailure:
        until = self._wall() + timedelta(seconds=refused.seconds)
        pause = f"it is not asked again before {until:%H:%M:%S} UTC"
        if refused.trouble is Trouble.RATE_LIMITED:
            return RateLimited(f"Yahoo asked for fewer calls; {pause}", refused.seconds)
        return Unreachable(f"Yahoo cannot be reached; {pause}")


class YahooSession(requests.Session[requests.Response]):
    """A session that yfinance accepts, with the gate in front of every request.

    Raises SourceFailure and UnknownSymbol. `deadline` is in seconds, for one whole request.
    """

    def __init__(self, gate: Gate, ca_bundle: Path | None, deadline: float) -> None:
        verify: Any = True if ca_bundle is None else str(ca_bundle)
        super().__init__(impersonate="chrome", verify=verify)
        self._gate = gate
        self._deadline = deadline

    def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Sends the request when it may be sent, and judges the answer."""
        params = kwargs.get("params")
        if isinstance(params, dict) and params.get("crumb") == "":
            kwargs["params"] = {name: value for name, value in params.items() if name != "crumb"}
        kwargs["timeout"] = min(float(kwargs.get("timeout") or self._deadline), self._deadline)
        ticket = self._gate.enter()
        failure: BaseException | None = None
        try:
            response = self._sent(method, url, args, kwargs)
            document = _judged(url, response, self._gate.now())
        except BaseException as error:
            failure = error
            raise
        finally:
            self._gate.leave(ticket, failure)
        # From here on the upstream has done its part: what follows is about what was asked.
        if document is not None and _CHART in url:
            symbol = unquote(urlsplit(url).path.rpartition("/")[2])
            mend_chart(document, response.status_code, symbol)
            # What yfinance reads is what has been read and mended already.
            response.json = lambda **_: document  # type: ignore[method-assign]
        elif document is not None and response.status_code >= 400:
            raise Nonsense(f"Yahoo answered {response.status_code}")
        return response

    def _sent(self, method: Any, url: str, args: Any, kwargs: Any) -> requests.Response:
        try:
            return super().request(method, url, *args, **kwargs)
        except RequestException as error:
            # People are shown what happened, not where curl explains its numbers.
            why = str(error).removeprefix("Failed to perform, ").partition(". See http")[0]
            if error.code == CurlECode.BAD_CONTENT_ENCODING:
                raise Nonsense(f"Yahoo's answer cannot be read: {why}.") from error
            raise Unreachable(f"Yahoo cannot be reached: {why}.") from error


def _judged(url: str, response: requests.Response, now: datetime) -> dict[str, Any] | None:
    """The JSON of an answer to `url`, None where another page is due; raises what it says."""
    status = response.status_code
    if status in _TOO_MANY:
        retry_after = _seconds_of(response.headers.get("retry-after"), now)
        raise RateLimited(f"Yahoo asked for fewer calls ({status})", retry_after)
    if status >= 500 or status == 403:
        raise Unreachable(f"Yahoo answered {status}")
    # Cookie, consent and crumb pages are none of JSON, and at a 401 yfinance goes for those.
    asked_for_json = urlsplit(url).path.startswith(("/v8/", "/v1/finance/"))
    consent = (urlsplit(response.url).hostname or "").endswith("consent.yahoo.com")
    if status == 401 or consent or not asked_for_json:
        return None
    return read_json(response.content)


def _seconds_of(retry_after: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: a number of them, or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, until.timestamp() - now.timestamp())
