"""The last closes beside the facts of a symbol, filled when its history is next refreshed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "histories", sa.Column("recent_closes", sa.Text(), nullable=False, server_default="[]")
    )


def downgrade() -> None:
    op.drop_column("histories", "recent_closes")
