"""Administrators, what is known of sign-ins, the audit log, resets, invitations, events."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _extend_accounts()
    _extend_sign_ins()
    _make_audit_events()
    _make_links()
    _make_account_events()


def _extend_accounts() -> None:
    # Columns are added in place: SQLite would make the table anew to change them further, and
    # with it delete all that refers to its rows. So the defaults for the rows there are stay.
    _add("accounts", "credentials_version", sa.Integer(), sa.literal_column("1"))
    _add("accounts", "administrator", sa.Boolean(), sa.false())
    op.add_column("accounts", sa.Column("disable_time", _TIME, nullable=True))
    op.execute(
        "UPDATE accounts SET administrator = true WHERE account_id = "
        "(SELECT account_id FROM accounts ORDER BY create_time, account_id LIMIT 1)"
    )


def _extend_sign_ins() -> None:
    _add("sign_ins", "remembered", sa.Boolean(), sa.true())  # so far all lasted for 30 days
    _add("sign_ins", "address", sa.String(45), "")
    _add("sign_ins", "user_agent", sa.String(300), "")
    op.create_index("ix_sign_ins_account_id", "sign_ins", ["account_id"])


def _add(
    table: str, name: str, kind: sa.types.TypeEngine[Any], default: str | sa.ColumnElement[Any]
) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))


def _of_account(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["account_id"], ["accounts.account_id"], name=f"fk_{table}_account_id", ondelete="CASCADE"
    )


def _make_audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("event_time", _TIME, nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("network", sa.String(45), nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("user_agent", sa.String(300), nullable=False),
        sa.Column("detail", sa.String(300), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_audit_events"),
        _of_account("audit_events"),
    )
    op.create_index("ix_audit_events_account_id", "audit_events", ["account_id", "event_id"])
    for column in ("subject", "network"):
        op.create_index(f"ix_audit_events_{column}", "audit_events", [column, "event_time"])
    op.create_index("ix_audit_events_event_time", "audit_events", ["event_time"])


def _make_links() -> None:
    op.create_table(
        "password_resets",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_password_resets"),
        _of_account("password_resets"),
    )
    op.create_index("ix_password_resets_account_id", "password_resets", ["account_id"])
    op.create_table(
        "invitations",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=True),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_invitations"),
        _of_account("invitations"),
    )
    for column in ("account_id", "email_key"):
        op.create_index(f"ix_invitations_{column}", "invitations", [column])


def _make_account_events() -> None:
    op.create_table(
        "account_events",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_time", _TIME, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("sign_in_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_account_events"),
    )
    op.create_index("ix_account_events_event_time", "account_events", ["event_time"])
    op.create_table(
        "account_versions",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("row", name="pk_account_versions"),
    )


def downgrade() -> None:
    for table in (
        "account_versions",
        "account_events",
        "invitations",
        "password_resets",
        "audit_events",
    ):
        op.drop_table(table)
    op.drop_index("ix_sign_ins_account_id", "sign_ins")
    for name in ("user_agent", "address", "remembered"):
        op.drop_column("sign_ins", name)
    for name in ("disable_time", "administrator", "credentials_version"):
        op.drop_column("accounts", name)
