"""Tables of the service."""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
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
    Column("recipe", JSON),  # its numbers by name; none of a model from before they were kept
    Column("withdrawn_seconds", BigInteger),  # wall clock; none of a model that may answer
    UniqueConstraint("market_id", "horizon", "fit_date", "recipe_hash", "rows_hash"),
)

# Where the training of each market is, for every replica to tell; and what is asked of it.
trainings = Table(
    "trainings",
    metadata,
    Column("market_id", String(255), primary_key=True),
    Column("state", String(16), nullable=False),  # idle, running, failed
    Column("stage", Text, nullable=False),
    Column("fraction", Double, nullable=False),
    Column("start_seconds", Double, nullable=False),  # wall clock
    Column("message", Text, nullable=False),  # what went wrong
    Column("model_version", String(64), nullable=False),  # what the last training made
    Column("asked", BigInteger, nullable=False),  # how often a training was asked for
    Column("answered", BigInteger, nullable=False),  # how many of these have ended
    Column("ended", BigInteger, nullable=False),  # how many trainings of any kind have
    Column("withdrawals", BigInteger, nullable=False),  # how many models were withdrawn
    Column("recipe", JSON),  # numbers of the recipe that serves; none before the first
    Column("rejected_recipe", String(16), nullable=False),  # hash of one that was tried in vain
    Column("recipe_note", Text, nullable=False),  # why the recipe that serves does, for people
    Column("version", BigInteger, nullable=False),  # rises with each change
)

editions = Table(
    "editions",
    metadata,
    Column("market_id", String(255), primary_key=True),
    # Rises over all markets with each change, so that replicas notice by one small query.
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the latest edition: JSON, zlib
    UniqueConstraint("version"),
)

track_records = Table(
    "track_records",
    metadata,
    Column("market_id", String(255), primary_key=True),
    Column("basis", String(16), primary_key=True),  # live, backtest
    Column("horizon", Integer, primary_key=True, autoincrement=False),  # sessions ahead
    # Rises with each change, so that replicas notice by one small query.
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON, zlib
)

leases = lease_table(metadata)

# The ledger: rows of both tables make one chain a market, in order of their numbers. Triggers of
# the migration keep it append-only; flags are numbers, so that no byte of them goes unread.
QUANTILE_COLUMNS = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")

forecasts = Table(
    "forecasts",
    metadata,
    Column("market_id", String(255), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # in the chain, from 1
    Column("prev_hash", LargeBinary, nullable=False),  # row_hash of the row before; 32 zeros first
    Column("row_hash", LargeBinary, nullable=False),
    Column("kind", String(16), nullable=False),  # forecast, missed
    Column("symbol", String(32), nullable=False),
    Column("horizon", Integer, nullable=False),  # sessions ahead
    Column("as_of_day", Integer, nullable=False),  # sessions, as days since 1970-01-01
    Column("target_day", Integer, nullable=False),
    Column("target_inferred", SmallInteger, nullable=False),
    Column("issue_micros", BigInteger, nullable=False),  # market time, UTC
    Column("deadline_micros", BigInteger, nullable=False),  # the first instant that is too late
    Column("forecaster", String(32), nullable=False),
    Column("model_version", String(64), nullable=False),  # empty: no learning
    Column("inputs_hash", LargeBinary),  # of all that the numbers were made from
    Column("actions_version", String(64), nullable=False),
    Column("currency_code", String(16), nullable=False),
    Column("reference_close", Double),  # as traded
    *(Column(name, Double) for name in QUANTILE_COLUMNS),  # of the log move
    Column("p_up", Double),
    Column("expected_move", Double),  # log move
    Column("reason", String(64), nullable=False),  # why it was missed
    Column("yardsticks", LargeBinary),  # big-endian doubles, see Yardsticks; none before 0004
    UniqueConstraint(
        "market_id", "symbol", "horizon", "as_of_day", name="uq_forecasts_market_id_symbol"
    ),
    UniqueConstraint("market_id", "prev_hash", name="uq_forecasts_market_id_prev_hash"),
    CheckConstraint(
        "(kind = 'forecast' AND issue_micros < deadline_micros AND reason = ''"
        " AND inputs_hash IS NOT NULL AND reference_close IS NOT NULL AND p_up IS NOT NULL"
        " AND expected_move IS NOT NULL AND "
        + " AND ".join(f"{name} IS NOT NULL" for name in QUANTILE_COLUMNS)
        + ") OR (kind = 'missed' AND issue_micros >= deadline_micros AND reference_close IS NULL)",
        name="ck_forecasts_in_time",
    ),
    CheckConstraint("target_day > as_of_day AND horizon > 0", name="ck_forecasts_sessions"),
    Index("ix_forecasts_market_id_target_day", "market_id", "target_day"),
    Index("ix_forecasts_market_id_as_of_day", "market_id", "as_of_day"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("market_id", String(255), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("row_hash", LargeBinary, nullable=False),
    Column("kind", String(16), nullable=False),  # resolved, unresolved, revised
    Column("forecast_number", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),  # 0, then one more with each that is revised
    Column("record_micros", BigInteger, nullable=False),  # market time, UTC
    Column("resolved_day", Integer),  # the session whose close it is; none where unresolved
    Column("delayed", SmallInteger, nullable=False),  # 1: that is not the target session
    Column("close", Double),  # as traded
    Column("split_factor", Double),  # new units for one of the as-of session
    Column("dividend", Double),  # per unit of the as-of session
    Column("log_move", Double),
    Column("reason", String(64), nullable=False),  # why it is unresolved
    UniqueConstraint(
        "market_id", "forecast_number", "revision", name="uq_outcomes_market_id_forecast_number"
    ),
    UniqueConstraint("market_id", "prev_hash", name="uq_outcomes_market_id_prev_hash"),
    ForeignKeyConstraint(
        ["market_id", "forecast_number"],
        ["forecasts.market_id", "forecasts.number"],
        name="fk_outcomes_market_id_forecasts",
    ),
    CheckConstraint(
        "((kind = 'revised') = (revision > 0)) AND forecast_number < number"
        " AND ((kind = 'unresolved') = (log_move IS NULL))"
        " AND ((log_move IS NULL) = (close IS NULL))"
        " AND ((log_move IS NULL) = (resolved_day IS NULL))"
        " AND ((log_move IS NULL) = (split_factor IS NULL))"
        " AND ((log_move IS NULL) = (dividend IS NULL))",
        name="ck_outcomes_kind",
    ),
)
