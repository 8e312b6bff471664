"""What several replicas over one database tell each other."""

import sqlalchemy as sa
from alembic import op

from foretick_rpc.leases import create_leases

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_leases()
    op.create_table(
        "errands",
        sa.Column("market_id", sa.Text(), nullable=False),
        sa.Column("errand", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("market_id", "errand"),
    )
    op.add_column(
        "histories", sa.Column("change", sa.BigInteger(), nullable=False, server_default="0")
    )
    for column in (
        sa.Column("pushed_at", sa.Float(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False, server_default=""),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("change", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("latest_quotes", column)
    for name in ("anchor_seconds", "anchor_time"):
        op.add_column(
            "market_clocks", sa.Column(name, sa.Float(), nullable=False, server_default="0")
        )


def downgrade() -> None:
    for name in ("anchor_time", "anchor_seconds"):
        op.drop_column("market_clocks", name)
    for name in ("change", "version", "failure", "pushed_at"):
        op.drop_column("latest_quotes", name)
    op.drop_column("histories", "change")
    op.drop_table("errands")
    op.drop_table("leases")
