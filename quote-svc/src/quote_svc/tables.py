"""The tables of quote-svc's database."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
)

from foretick_rpc.leases import lease_table

metadata = MetaData()

# How long each market with a clock of its own has run, in real seconds, and whether it is held
# there. The pace is kept beside it because the seconds mean nothing without it. Other replicas
# read the clock by the anchor: at `anchor_time`, in seconds since the epoch, it had run for
# `anchor_seconds`, and no more than `elapsed_seconds` are shown.
market_clocks = Table(
    "market_clocks",
    metadata,
    Column("market_id", Text, primary_key=True),
    Column("elapsed_seconds", Float, nullable=False),
    Column("session_seconds", Float, nullable=False),
    Column("night_seconds", Float, nullable=False),
    Column("held", Boolean, nullable=False, server_default=false()),
    Column("anchor_seconds", Float, nullable=False, server_default="0"),
    Column("anchor_time", Float, nullable=False, server_default="0"),
)

# One symbol of a market: what it is, and its final daily bars in one blob. `tail` repeats the
# last bars, `recent_closes` the closes of some more, `gaps` the sessions that the source lost and
# `checks` what was noted while checking, all as JSON, so that quotes and the scheduler need not
# unpack the blob. Times are seconds since the epoch. `unknown_since` and `unknown_days` say when
# the source began to deny the symbol.
histories = Table(
    "histories",
    metadata,
    Column("market_id", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("exchange_code", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("price_decimals", Integer, nullable=False),
    Column("fetched_at", Float, nullable=False),
    Column("adjusted_basis", Integer, nullable=False),
    Column("sessions", Integer, nullable=False),
    Column("tail", Text, nullable=False),
    Column("recent_closes", Text, nullable=False, server_default="[]"),
    Column("gaps", Text, nullable=False),
    Column("checks", Text, nullable=False),
    Column("unknown_since", Float),
    Column("unknown_days", Integer, nullable=False),
    Column("bars", LargeBinary, nullable=False),
    Column("change", BigInteger, nullable=False, server_default="0"),
)

# The latest price that the source gave, and how the source has treated the symbol: when it last
# answered, when it last pushed a price, and why it fails now if it does. `version` rises with
# every change of these but `asked_at`. `change`, here and above, is the number of the last
# transaction that wrote the row: `changes` in `counters`.
latest_quotes = Table(
    "latest_quotes",
    metadata,
    Column("market_id", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("answered_at", Float, nullable=False),
    Column("asked_at", Float),
    Column("price", Float),
    Column("as_of", Float),
    Column("previous_close", Float),
    Column("day_low", Float),
    Column("day_high", Float),
    Column("volume", Float),
    Column("pushed_at", Float),
    Column("failure", Text, nullable=False, server_default=""),
    Column("version", BigInteger, nullable=False, server_default="0"),
    Column("change", BigInteger, nullable=False, server_default="0"),
)

# What replicas ask of the one that asks the source, and its answers, as JSON. `asked_at` is in
# seconds since the epoch.
errands = Table(
    "errands",
    metadata,
    Column("market_id", Text, primary_key=True),
    Column("errand", Text, primary_key=True),
    Column("asked_at", Float, nullable=False),
    Column("answer", Text),
)

leases = lease_table(metadata)

# Numbers that never come twice: what is reserved here may have been given out.
counters = Table(
    "counters",
    metadata,
    Column("market_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("reserved", BigInteger, nullable=False),
)
