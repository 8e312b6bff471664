"""Editions; leases."""

import sqlalchemy as sa
from alembic import op

from foretick_rpc.leases import create_leases

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "editions",
        sa.Column("market_id", sa.String(255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("training_state", sa.String(16), nullable=False),
        sa.Column("training_message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("market_id", name="pk_editions"),
        sa.UniqueConstraint("version", name="uq_editions_version"),
    )
    create_leases()


def downgrade() -> None:
    op.drop_table("leases")
    op.drop_table("editions")
