"""What the services answer, as plain values."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

SUBSCRIPTION, QUOTE, PREDICTION = "subscription-svc", "quote-svc", "prediction-svc"


@dataclass(frozen=True, slots=True)
class SignInKey:
    """On whose behalf a request is made."""

    account_id: str
    sign_in_id: str


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from: IP address, empty where unknown, and the browser's own name."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can sign in."""

    account_id: str
    email: str
    created: datetime | None
    administrator: bool
    disabled: datetime | None


@dataclass(frozen=True, slots=True)
class SignIn:
    """A fresh sign-in; ``remembered`` where it outlives the browser's window."""

    key: SignInKey
    account: Account
    remembered: bool


@dataclass(frozen=True, slots=True)
class Device:
    """A sign-in as its owner sees it in a list."""

    device_id: str
    created: datetime | None
    used: datetime | None
    expires: datetime | None
    client: Client
    remembered: bool
    current: bool


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was done with an account, or tried."""

    kind: str
    time: datetime | None
    client: Client
    detail: str


@dataclass(frozen=True, slots=True)
class Registration:
    """Who can register: the mode, whether this visitor can, and by which address alone."""

    mode: str
    allowed: bool
    first: bool
    invited_email: str
    mails: bool


@dataclass(frozen=True, slots=True)
class Invitation:
    """Leave to register; ``email`` is the only address that can use it, empty where any can."""

    invitation_id: str
    email: str
    created: datetime | None
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """One account as an administrator sees it."""

    account: Account
    used: datetime | None


@dataclass(frozen=True, slots=True)
class Watchlist:
    """A named list; those of smaller positions come first."""

    list_id: str
    name: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """One symbol of a list; those of smaller positions come first."""

    symbol: str
    list_id: str
    note: str
    position: int
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """What an account follows: its lists in their order, and what is in all of them in theirs."""

    account: Account
    lists: tuple[Watchlist, ...]
    entries: tuple[Subscription, ...]
    _notes: dict[str, tuple[tuple[str, str], ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, each once, in the order of the lists."""
        return tuple(dict.fromkeys(each.symbol for each in self.entries))

    def of(self, watchlist: Watchlist) -> tuple[Subscription, ...]:
        """What is in one list, in its order."""
        return tuple(each for each in self.entries if each.list_id == watchlist.list_id)

    def notes(self, watchlist: Watchlist) -> tuple[tuple[str, str], ...]:
        """The symbols of one list in its order, each with its note; the same object each time."""
        if watchlist.list_id not in self._notes:
            inside = self.of(watchlist)
            self._notes[watchlist.list_id] = tuple((each.symbol, each.note) for each in inside)
        return self._notes[watchlist.list_id]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is missing: a reason to branch on and a sentence for people."""

    reason: str
    message: str

    @property
    def is_of_service(self) -> bool:
        """Whether a whole service fails, which is said above a list and not in every row."""
        return self.reason in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"}


@dataclass(frozen=True, slots=True)
class Market:
    """Where prices come from."""

    market_id: str
    kind: str
    name: str
    synthetic: bool
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol and what people call it."""

    symbol: str
    name: str
    kind: str = ""
    exchange: str = ""
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day of an exchange; ``date`` is an ISO date."""

    date: str
    open_time: datetime | None
    close_time: datetime | None
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """The latest price of an instrument, in major units of its currency.

    ``stale_reason`` says why it should be newer than it is; empty where it is as new as can be.
    """

    symbol: str
    name: str
    currency: str
    decimals: int
    price: float | None
    as_of: datetime | None
    previous_close: float | None
    session_date: str
    state: str
    next_session: Session | None
    day_low: float | None = None
    day_high: float | None = None
    volume: float | None = None
    stale_reason: str = ""
    source: str = ""
    recent_closes: tuple[float, ...] = ()
    """Of the last final sessions, oldest first."""
    version: int = field(default=0, compare=False)
    """A lower one than is known already is out of date."""
    kind: str = ""
    exchange: str = ""


@dataclass(frozen=True, slots=True)
class Quotes:
    """Quotes of one market by symbol, and why the rest is missing."""

    market_id: str
    market_time: datetime | None
    found: dict[str, Quote] = field(default_factory=dict)
    missing: dict[str, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Universe:
    """The first instruments that are forecast, and how far the fetching of all is, if it is."""

    market_id: str
    instruments: tuple[Instrument, ...]
    fetching: "Fetching | None" = None


@dataclass(frozen=True, slots=True)
class Fetching:
    """How far the first fetching of histories is, in instruments."""

    known: int
    failed: int
    total: int


@dataclass(frozen=True, slots=True)
class Score:
    """Pinball skill in percent with its 95 % interval; ``value`` is None below enough sessions."""

    value: float | None
    low: float | None
    high: float | None
    sessions: int
    basis: str | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The distribution of one close; ``quantiles`` are (probability, price), rising."""

    symbol: str
    as_of_session: str
    target_session: str
    target_inferred: bool
    reference_close: float | None
    currency: str
    decimals: int
    quantiles: tuple[tuple[float, float], ...]
    expected_close: float | None
    forecaster: str | None
    model_version: str
    score: Score
    horizon: int = 1
    issued: datetime | None = None
    up_probability: float | None = None
    ledger_number: int = 0
    """Its row in the ledger; 0 where it is not written down."""


@dataclass(frozen=True, slots=True)
class Training:
    """How far the training of a model is."""

    stage: str
    fraction: float
    """0 to 1."""
    remaining: timedelta | None
    """Real time that is left; None while that cannot be told."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Forecasts of one market by symbol, and why the rest is missing."""

    market_id: str
    found: dict[str, Forecast] = field(default_factory=dict)
    missing: dict[str, Reason] = field(default_factory=dict)
    training: Training | None = None
    """None where nothing is being trained, and in what is watched."""
    version: int = 0
    """Of what is served; a lower one than is known already is out of date."""
