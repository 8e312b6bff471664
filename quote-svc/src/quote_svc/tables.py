"""The tables of quote-svc's database."""

from sqlalchemy import Column, Float, MetaData, Table, Text

metadata = MetaData()

# How long each market with a clock of its own has run, in real seconds. The pace is kept beside
# it because the seconds mean nothing without it.
market_clocks = Table(
    "market_clocks",
    metadata,
    Column("market_id", Text, primary_key=True),
    Column("elapsed_seconds", Float, nullable=False),
    Column("session_seconds", Float, nullable=False),
    Column("night_seconds", Float, nullable=False),
)
