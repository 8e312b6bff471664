"""What forecasts are judged by, in the ledger; track records."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A plain ALTER on every database: the table stays, with its triggers and what was granted.
    op.add_column("forecasts", sa.Column("yardsticks", sa.LargeBinary()))
    op.create_table(
        "track_records",
        sa.Column("market_id", sa.String(255), nullable=False),
        sa.Column("basis", sa.String(16), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("market_id", "basis", "horizon", name="pk_track_records"),
    )


def downgrade() -> None:
    op.drop_table("track_records")
    op.drop_column("forecasts", "yardsticks")
