"""Clocks of markets that run only while the service does."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "market_clocks",
        sa.Column("market_id", sa.Text(), nullable=False),
        sa.Column("elapsed_seconds", sa.Float(), nullable=False),
        sa.Column("session_seconds", sa.Float(), nullable=False),
        sa.Column("night_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("market_id"),
    )


def downgrade() -> None:
    op.drop_table("market_clocks")
