"""Named lists; what is followed so far goes into the first, oldest first."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "watchlists",
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("list_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("name_key", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "list_id", name="pk_watchlists"),
        sa.UniqueConstraint("account_id", "name_key", name="uq_watchlists_name_key"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name="fk_watchlists_account_id",
            ondelete="CASCADE",
        ),
    )
    op.execute(
        "INSERT INTO watchlists (account_id, list_id, name, name_key, position) "
        "SELECT DISTINCT account_id, account_id, 'Watchlist', 'watchlist', 0 FROM subscriptions"
    )
    # SQLite cannot give a table another primary key, and nothing refers to this one.
    op.execute("CREATE TABLE subscriptions_0002 AS SELECT * FROM subscriptions")
    op.drop_table("subscriptions")
    op.create_table(
        "subscriptions",
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("list_id", sa.String(32), nullable=False),
        sa.Column("symbol", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "list_id", "symbol", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(
            ["account_id", "list_id"],
            ["watchlists.account_id", "watchlists.list_id"],
            name="fk_subscriptions_list_id",
            ondelete="CASCADE",
        ),
    )
    op.execute(
        "INSERT INTO subscriptions (account_id, list_id, symbol, position, note, create_time) "
        "SELECT account_id, account_id, symbol, row_number() OVER "
        "(PARTITION BY account_id ORDER BY create_time, symbol) - 1, '', create_time "
        "FROM subscriptions_0002"
    )
    op.drop_table("subscriptions_0002")


def downgrade() -> None:
    op.execute(
        "CREATE TABLE subscriptions_0003 AS SELECT account_id, symbol, min(create_time) "
        "AS create_time FROM subscriptions GROUP BY account_id, symbol"
    )
    op.drop_table("subscriptions")
    op.drop_table("watchlists")
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
    op.execute("INSERT INTO subscriptions SELECT * FROM subscriptions_0003")
    op.drop_table("subscriptions_0003")
