"""Tables of the service. Times are aware UTC on both sides of the database."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
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


def _account_id(*, nullable: bool = False) -> Column[str]:
    """Whose a row is; it goes when the account does."""
    return Column(
        "account_id", ForeignKey("accounts.account_id", ondelete="CASCADE"), nullable=nullable
    )


accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(32), primary_key=True),  # uuid4, hex
    Column("email", String(254), nullable=False),  # as it was given
    Column("email_key", String, nullable=False),  # normalised and case-folded
    Column("password_hash", String, nullable=False),  # argon2id, encoded with its parameters
    Column("credentials_version", Integer, nullable=False),  # counts changes of either
    Column("create_time", UtcTime, nullable=False),
    Column("administrator", Boolean, nullable=False),
    Column("disable_time", UtcTime, nullable=True),
    UniqueConstraint("email_key"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    # Only the hash is kept: who reads a copy of the database can't act as anybody in it.
    Column("sign_in_hash", String(64), primary_key=True),  # SHA-256 of the sign-in id, hex
    _account_id(),
    Column("create_time", UtcTime, nullable=False),
    Column("last_used_time", UtcTime, nullable=False),  # true to the minute
    Column("expire_time", UtcTime, nullable=False),
    Column("revoke_time", UtcTime, nullable=True),
    Column("remembered", Boolean, nullable=False),
    Column("address", String(45), nullable=False),
    Column("user_agent", String(300), nullable=False),
    Index("ix_sign_ins_account_id", "account_id"),
)

# An id is unique within an account: whatever names a list names its account first.
watchlists = Table(
    "watchlists",
    metadata,
    _account_id(),
    Column("list_id", String(32), nullable=False),  # uuid4, hex; of the first the account's own
    Column("name", String(60), nullable=False),
    Column("name_key", String, nullable=False),  # case-folded
    Column("position", Integer, nullable=False),
    PrimaryKeyConstraint("account_id", "list_id"),
    UniqueConstraint("account_id", "name_key", name="uq_watchlists_name_key"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("account_id", String(32), nullable=False),
    Column("list_id", String(32), nullable=False),
    Column("symbol", String(32), nullable=False),
    Column("position", Integer, nullable=False),
    Column("note", String(500), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    PrimaryKeyConstraint("account_id", "list_id", "symbol"),
    ForeignKeyConstraint(
        ["account_id", "list_id"],
        ["watchlists.account_id", "watchlists.list_id"],
        name="fk_subscriptions_list_id",
        ondelete="CASCADE",
    ),
)

# What was done with accounts, and what failed: its owners read it, and attempts are counted in it.
audit_events = Table(
    "audit_events",
    metadata,
    Column("event_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _account_id(nullable=True),
    Column("kind", String(32), nullable=False),
    Column("event_time", UtcTime, nullable=False),
    Column("subject", String(64), nullable=False),  # SHA-256 of the address' key, hex; or empty
    Column("network", String(45), nullable=False),  # what attempts are counted by; or empty
    Column("address", String(45), nullable=False),
    Column("user_agent", String(300), nullable=False),
    Column("detail", String(300), nullable=False),
    Index("ix_audit_events_account_id", "account_id", "event_id"),
    Index("ix_audit_events_subject", "subject", "event_time"),
    Index("ix_audit_events_network", "network", "event_time"),
    Index("ix_audit_events_event_time", "event_time"),
)

password_resets = Table(
    "password_resets",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of the link's token, hex
    _account_id(),
    Column("expire_time", UtcTime, nullable=False),
    Index("ix_password_resets_account_id", "account_id"),
)

invitations = Table(
    "invitations",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of the link's token, hex
    _account_id(nullable=True),  # who invites; nobody where a command did
    Column("email", String(254), nullable=False),  # the only address that can use it, or empty
    Column("email_key", String, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("expire_time", UtcTime, nullable=False),
    Index("ix_invitations_account_id", "account_id"),
    Index("ix_invitations_email_key", "email_key"),
)

# What whoever keeps something about accounts must be told. It names accounts by their ids, which
# mean nothing once they are deleted.
account_events = Table(
    "account_events",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("event_time", UtcTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("account_id", String(32), nullable=False),
    Column("sign_in_hash", String(64), nullable=False),  # or empty
    Index("ix_account_events_event_time", "event_time"),
)

# The latest version, in one row. Its lock is held until the end of a transaction, so that versions
# become visible in their order.
account_versions = Table(
    "account_versions",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)
