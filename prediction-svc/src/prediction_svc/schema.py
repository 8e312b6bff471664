"""Tables of the service."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from foretick_rpc.leases import lease_table

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

models = Table(
    "models",
    metadata,
    Column("model_id", Integer, primary_key=True),
    Column("market_id", String(255), nullable=False),
    Column("horizon", Integer, nullable=False),  # sessions ahead
    Column("fixed_date", Date, nullable=False),  # 1 January or 1 July
    Column("fit_date", Date, nullable=False),  # the first session on or after it
    Column("fit_seconds", BigInteger, nullable=False),  # UTC instant of that session's close
    Column("recipe_hash", String(16), nullable=False),  # of the recipe's numbers and features
    Column("rows_hash", String(64), nullable=False),  # SHA-256 of what was learned from
    Column("model_version", String(64), nullable=False),
    Column("booster", LargeBinary, nullable=False),  # XGBoost's UBJSON
    Column("feature_names", JSON, nullable=False),
    Column("train_start_date", Date, nullable=False),
    Column("train_rows", BigInteger, nullable=False),
    Column("train_symbols", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),  # scores by symbol, once they are known
    Column("create_seconds", BigInteger, nullable=False),  # wall clock
    UniqueConstraint("market_id", "horizon", "fit_date", "recipe_hash", "rows_hash"),
)

editions = Table(
    "editions",
    metadata,
    Column("market_id", String(255), primary_key=True),
    # Rises over all markets with each change, so that replicas notice by one small query.
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the latest edition: JSON, zlib
    Column("training_state", String(16), nullable=False),
    Column("training_message", Text, nullable=False),
    UniqueConstraint("version"),
)

leases = lease_table(metadata)
