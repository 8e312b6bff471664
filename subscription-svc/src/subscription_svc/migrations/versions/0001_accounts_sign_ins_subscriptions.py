"""Accounts, sign-ins, subscriptions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_accounts"),
        sa.UniqueConstraint("email_key", name="uq_accounts_email_key"),
    )
    op.create_table(
        "sign_ins",
        sa.Column("sign_in_hash", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("last_used_time", _TIME, nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        sa.Column("revoke_time", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("sign_in_hash", name="pk_sign_ins"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name="fk_sign_ins_account_id",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "subscriptions",
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("symbol", sa.String(32), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "symbol", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name="fk_subscriptions_account_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("subscriptions")
    op.drop_table("sign_ins")
    op.drop_table("accounts")
