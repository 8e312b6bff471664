"""Where training is; recipes and withdrawals of models."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("recipe", sa.JSON()))
    op.add_column("models", sa.Column("withdrawn_seconds", sa.BigInteger()))
    op.drop_column("editions", "training_state")
    op.drop_column("editions", "training_message")
    op.create_table(
        "trainings",
        sa.Column("market_id", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("fraction", sa.Double(), nullable=False),
        sa.Column("start_seconds", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("withdrawals", sa.BigInteger(), nullable=False),
        sa.Column("recipe", sa.JSON()),
        sa.Column("rejected_recipe", sa.String(16), nullable=False),
        sa.Column("recipe_note", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("market_id", name="pk_trainings"),
    )


def downgrade() -> None:
    op.drop_table("trainings")
    for name, kind in (("training_message", sa.Text()), ("training_state", sa.String(16))):
        op.add_column("editions", sa.Column(name, kind, nullable=False, server_default=""))
    op.drop_column("models", "withdrawn_seconds")
    op.drop_column("models", "recipe")
