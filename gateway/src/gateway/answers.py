"""What the services answer, converted from the contracts to plain values."""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from foretick.prediction.v1 import prediction_pb2
from foretick.quote.v1 import quote_pb2
from foretick.subscription.v1 import subscription_pb2
from foretick_rpc.convert import instant
from gateway.model import (
    Account,
    AccountSummary,
    AuditEvent,
    Client,
    Device,
    Fetching,
    Forecast,
    Forecasts,
    Instrument,
    Invitation,
    Market,
    Quote,
    Quotes,
    Reason,
    Registration,
    Score,
    Session,
    SignIn,
    SignInKey,
    Subscription,
    Subscriptions,
    Training,
    Universe,
    Watchlist,
)


class _Missing(Protocol):
    symbol: str
    reason: str
    message: str


def market(message: quote_pb2.Market) -> Market:
    """Convert the market."""
    return Market(
        market_id=message.market_id,
        kind=word(quote_pb2.MarketKind.Name(message.kind), "MARKET_KIND_"),
        name=message.display_name,
        synthetic=message.synthetic,
        notices=tuple(message.notices),
    )


def instruments(messages: Iterable[quote_pb2.Instrument]) -> list[Instrument]:
    """Convert instruments, in their order."""
    return [instrument(each) for each in messages]


def instrument(message: quote_pb2.Instrument) -> Instrument:
    """Convert an instrument; where it has no name, the symbol is it."""
    return Instrument(
        symbol=message.symbol,
        name=message.display_name or message.symbol,
        kind=word(quote_pb2.InstrumentKind.Name(message.kind), "INSTRUMENT_KIND_"),
        exchange=message.exchange_code,
        currency=message.currency_code,
    )


def universe(response: quote_pb2.ListUniverseResponse) -> Universe:
    """Convert a page of the universe."""
    return Universe(
        market_id=response.market_id,
        instruments=tuple(instruments(response.instruments)),
        fetching=_fetching(response.progress) if response.HasField("progress") else None,
    )


def _fetching(message: quote_pb2.FetchProgress) -> Fetching:
    return Fetching(message.known, message.failed, message.total)


def quotes(response: quote_pb2.BatchGetQuotesResponse | quote_pb2.WatchQuotesResponse) -> Quotes:
    """Convert quotes and reasons, by symbol."""
    return Quotes(
        market_id=response.market_id,
        market_time=_instant(response.market_time, response.HasField("market_time")),
        found={each.instrument.symbol: _quote(each) for each in response.quotes},
        missing=_missing(response.missing),
    )


def forecasts(response: prediction_pb2.BatchGetForecastsResponse) -> Forecasts:
    """Convert forecasts and reasons, by symbol, and how far training is."""
    return replace(
        watched_forecasts(response),
        training=training(response.progress) if response.HasField("progress") else None,
    )


def watched_forecasts(
    response: prediction_pb2.BatchGetForecastsResponse | prediction_pb2.WatchForecastsResponse,
) -> Forecasts:
    """Convert forecasts and reasons, by symbol."""
    return Forecasts(
        market_id=response.market_id,
        found={each.symbol: forecast(each) for each in response.forecasts},
        missing=_missing(response.missing),
        version=response.version,
    )


def training(message: prediction_pb2.TrainingProgress) -> Training:
    """Convert how far training is."""
    return Training(
        stage=message.stage,
        fraction=min(max(finite(message.fraction) or 0.0, 0.0), 1.0),
        remaining=message.remaining.ToTimedelta() if message.HasField("remaining") else None,
    )


def account(message: subscription_pb2.Account) -> Account:
    """Convert an account."""
    return Account(
        account_id=message.account_id,
        email=message.email,
        created=time_of(message, "create_time"),
        administrator=message.administrator,
        disabled=time_of(message, "disable_time"),
    )


def sign_in(message: subscription_pb2.SignIn, owner: subscription_pb2.Account) -> SignIn:
    """Convert a fresh sign-in."""
    key = SignInKey(message.key.account_id, message.key.sign_in_id)
    return SignIn(key, account(owner), message.remembered)


def watchlist(message: subscription_pb2.Watchlist) -> Watchlist:
    """Convert a list."""
    return Watchlist(message.list_id, message.name, message.position)


def subscription(message: subscription_pb2.Subscription) -> Subscription:
    """Convert one symbol of a list."""
    return Subscription(
        symbol=message.symbol,
        list_id=message.list_id,
        note=message.note,
        position=message.position,
        created=time_of(message, "create_time"),
    )


def subscriptions(message: subscription_pb2.SubscriptionList) -> Subscriptions:
    """Convert what an account follows."""
    return Subscriptions(
        account=account(message.account),
        lists=tuple(watchlist(each) for each in message.watchlists),
        entries=tuple(subscription(each) for each in message.subscriptions),
    )


def device(message: subscription_pb2.Device) -> Device:
    """Convert one device of a list."""
    return Device(
        device_id=message.device_id,
        created=time_of(message, "create_time"),
        used=time_of(message, "last_used_time"),
        expires=time_of(message, "expire_time"),
        client=_client(message.client),
        remembered=message.remembered,
        current=message.current,
    )


def audit_event(message: subscription_pb2.AuditEvent) -> AuditEvent:
    """Convert one line of the log."""
    return AuditEvent(
        kind=word(subscription_pb2.AuditKind.Name(message.kind), "AUDIT_KIND_"),
        time=time_of(message, "event_time"),
        client=_client(message.client),
        detail=message.detail,
    )


def registration(message: subscription_pb2.GetRegistrationResponse) -> Registration:
    """Convert who can register."""
    return Registration(
        mode=registration_mode(message.mode),
        allowed=message.allowed,
        first=message.first,
        invited_email=message.invited_email,
        mails=message.mails,
    )


def registration_mode(mode: subscription_pb2.RegistrationMode.ValueType) -> str:
    """Return "open", "invitation" or "closed"."""
    return word(subscription_pb2.RegistrationMode.Name(mode), "REGISTRATION_MODE_")


def invitation(message: subscription_pb2.Invitation) -> Invitation:
    """Convert an invitation."""
    return Invitation(
        invitation_id=message.invitation_id,
        email=message.email,
        created=time_of(message, "create_time"),
        expires=time_of(message, "expire_time"),
    )


def account_summary(message: subscription_pb2.AccountSummary) -> AccountSummary:
    """Convert one account of the administrator's list."""
    return AccountSummary(account(message.account), time_of(message, "last_used_time"))


def _client(message: subscription_pb2.Client) -> Client:
    return Client(message.address, message.user_agent)


def _quote(message: quote_pb2.Quote) -> Quote:
    return Quote(
        symbol=message.instrument.symbol,
        name=message.instrument.display_name or message.instrument.symbol,
        currency=message.instrument.currency_code,
        decimals=message.instrument.price_decimals,
        price=finite(message.price),
        as_of=_instant(message.as_of_time, message.HasField("as_of_time")),
        previous_close=optional(message, "previous_close"),
        session_date=message.session_date,
        state=word(quote_pb2.SessionState.Name(message.state), "SESSION_STATE_"),
        next_session=(session(message.next_session) if message.HasField("next_session") else None),
        day_low=optional(message, "day_low"),
        day_high=optional(message, "day_high"),
        volume=optional(message, "volume"),
        stale_reason=(message.stale_reason or "It is old.") if message.stale else "",
        recent_closes=tuple(filter(math.isfinite, message.recent_closes)),
        version=message.version,
        source=word(quote_pb2.PriceSource.Name(message.source), "PRICE_SOURCE_"),
        kind=word(quote_pb2.InstrumentKind.Name(message.instrument.kind), "INSTRUMENT_KIND_"),
        exchange=message.instrument.exchange_code,
    )


def session(message: quote_pb2.Session) -> Session:
    """Convert a session."""
    return Session(
        date=message.session_date,
        open_time=_instant(message.open_time, message.HasField("open_time")),
        close_time=_instant(message.close_time, message.HasField("close_time")),
        inferred=message.inferred,
    )


def forecast(message: prediction_pb2.Forecast) -> Forecast:
    """Convert a forecast."""
    return Forecast(
        symbol=message.symbol,
        as_of_session=message.as_of_session_date,
        target_session=message.target_session_date,
        target_inferred=message.target_inferred,
        reference_close=finite(message.reference_close),
        currency=message.currency_code,
        decimals=message.price_decimals,
        quantiles=tuple(
            (each.probability, each.price)
            for each in message.quantiles
            if math.isfinite(each.probability) and math.isfinite(each.price)
        ),
        expected_close=finite(message.expected_close),
        forecaster=word(prediction_pb2.Forecaster.Name(message.forecaster), "FORECASTER_"),
        model_version=message.model_version,
        score=score(message.score),
        horizon=message.horizon,
        issued=time_of(message, "issue_time"),
        up_probability=finite(message.up_probability),
        ledger_number=message.ledger_number,
    )


def score(message: prediction_pb2.PredictScore) -> Score:
    """Convert a score."""
    return Score(
        value=optional(message, "value"),
        low=optional(message, "low"),
        high=optional(message, "high"),
        sessions=message.scored_sessions,
        basis=word(prediction_pb2.ScoreBasis.Name(message.basis), "SCORE_BASIS_"),
    )


def _missing(messages: Iterable[_Missing]) -> dict[str, Reason]:
    return {each.symbol: Reason(each.reason, each.message) for each in messages}


def word(name: str, prefix: str) -> str:
    """Return an enum's name as programs and pages say it: "MARKET_KIND_CSV" is "csv"."""
    return name.removeprefix(prefix).lower()


def optional(message: Message, name: str) -> float | None:
    """Return a finite number; None where it is unset."""
    return finite(getattr(message, name)) if message.HasField(name) else None


def finite(number: float) -> float | None:
    """Return the number; None where it is not finite."""
    return number if math.isfinite(number) else None


def time_of(message: Message, name: str) -> datetime | None:
    """Return an instant; None where it is unset."""
    return _instant(getattr(message, name), message.HasField(name))


def _instant(message: Timestamp, is_set: bool) -> datetime | None:
    return instant(message) if is_set else None
