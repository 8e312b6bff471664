"""Models."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("market_id", sa.String(255), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("fixed_date", sa.Date(), nullable=False),
        sa.Column("fit_date", sa.Date(), nullable=False),
        sa.Column("fit_seconds", sa.BigInteger(), nullable=False),
        sa.Column("recipe_hash", sa.String(16), nullable=False),
        sa.Column("rows_hash", sa.String(64), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("booster", sa.LargeBinary(), nullable=False),
        sa.Column("feature_names", sa.JSON(), nullable=False),
        sa.Column("train_start_date", sa.Date(), nullable=False),
        sa.Column("train_rows", sa.BigInteger(), nullable=False),
        sa.Column("train_symbols", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("create_seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", name="pk_models"),
        sa.UniqueConstraint(
            "market_id",
            "horizon",
            "fit_date",
            "recipe_hash",
            "rows_hash",
            name="uq_models_market_id",
        ),
    )


def downgrade() -> None:
    op.drop_table("models")
