"""Tables of the service. Times are aware UTC on both sides of the database."""

from datetime import UTC, datetime

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC: `timestamptz` on PostgreSQL, sortable text of fixed width on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 the signature is SQLAlchemy's
        """Takes any aware time; a naive one is a ValueError."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 the signature is SQLAlchemy's
        """Gives aware UTC; SQLite forgets the zone, PostgreSQL may answer in another."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(32), primary_key=True),  # uuid4, hex
    Column("email", String(254), nullable=False),  # as it was given
    Column("email_key", String, nullable=False),  # normalised and case-folded
    Column("password_hash", String, nullable=False),  # argon2id, encoded with its parameters
    Column("create_time", UtcTime, nullable=False),
    UniqueConstraint("email_key"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    # Only the hash is kept: who reads a copy of the database can't act as anybody in it.
    Column("sign_in_hash", String(64), primary_key=True),  # SHA-256 of the sign-in id, hex
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("last_used_time", UtcTime, nullable=False),  # true to the hour
    Column("expire_time", UtcTime, nullable=False),
    Column("revoke_time", UtcTime, nullable=True),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("symbol", String(32), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    PrimaryKeyConstraint("account_id", "symbol"),
)
