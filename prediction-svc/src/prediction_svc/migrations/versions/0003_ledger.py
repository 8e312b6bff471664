"""The ledger: forecasts and outcomes, append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = ("forecasts", "outcomes")
_OWN_KEYS = {
    "forecasts": ("symbol", "horizon", "as_of_day"),
    "outcomes": ("forecast_number", "revision"),
}


def upgrade() -> None:
    _create_forecasts()
    _create_outcomes()
    statements = _sqlite() if op.get_context().dialect.name == "sqlite" else _postgresql()
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.drop_table("outcomes")
    op.drop_table("forecasts")
    if op.get_context().dialect.name != "sqlite":
        op.get_bind().exec_driver_sql("DROP FUNCTION ledger_refuse_change()")
        op.get_bind().exec_driver_sql("DROP FUNCTION ledger_require_link()")


def _chain_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("market_id", sa.String(255), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("row_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
    ]


def _create_forecasts() -> None:
    quantiles = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")
    numbers = ("reference_close", *quantiles, "p_up", "expected_move")
    told = " AND ".join(f"{name} IS NOT NULL" for name in ("inputs_hash", *numbers))
    op.create_table(
        "forecasts",
        *_chain_columns(),
        sa.Column("symbol", sa.String(32), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("as_of_day", sa.Integer(), nullable=False),
        sa.Column("target_day", sa.Integer(), nullable=False),
        sa.Column("target_inferred", sa.SmallInteger(), nullable=False),
        sa.Column("issue_micros", sa.BigInteger(), nullable=False),
        sa.Column("deadline_micros", sa.BigInteger(), nullable=False),
        sa.Column("forecaster", sa.String(32), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("inputs_hash", sa.LargeBinary()),
        sa.Column("actions_version", sa.String(64), nullable=False),
        sa.Column("currency_code", sa.String(16), nullable=False),
        *(sa.Column(name, sa.Double()) for name in numbers),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("market_id", "number", name="pk_forecasts"),
        sa.UniqueConstraint(
            "market_id", "symbol", "horizon", "as_of_day", name="uq_forecasts_market_id_symbol"
        ),
        sa.UniqueConstraint("market_id", "prev_hash", name="uq_forecasts_market_id_prev_hash"),
        sa.CheckConstraint(
            f"(kind = 'forecast' AND issue_micros < deadline_micros AND reason = '' AND {told})"
            " OR (kind = 'missed' AND issue_micros >= deadline_micros AND reference_close IS NULL)",
            name="ck_forecasts_in_time",
        ),
        sa.CheckConstraint("target_day > as_of_day AND horizon > 0", name="ck_forecasts_sessions"),
    )
    for day in ("target_day", "as_of_day"):
        op.create_index(f"ix_forecasts_market_id_{day}", "forecasts", ["market_id", day])


def _create_outcomes() -> None:
    numbers = ("close", "split_factor", "dividend", "log_move")
    together = " AND ".join(
        f"((log_move IS NULL) = ({name} IS NULL))" for name in ("resolved_day", *numbers[:3])
    )
    op.create_table(
        "outcomes",
        *_chain_columns(),
        sa.Column("forecast_number", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("record_micros", sa.BigInteger(), nullable=False),
        sa.Column("resolved_day", sa.Integer()),
        sa.Column("delayed", sa.SmallInteger(), nullable=False),
        *(sa.Column(name, sa.Double()) for name in numbers),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("market_id", "number", name="pk_outcomes"),
        sa.UniqueConstraint(
            "market_id",
            "forecast_number",
            "revision",
            name="uq_outcomes_market_id_forecast_number",
        ),
        sa.UniqueConstraint("market_id", "prev_hash", name="uq_outcomes_market_id_prev_hash"),
        sa.ForeignKeyConstraint(
            ["market_id", "forecast_number"],
            ["forecasts.market_id", "forecasts.number"],
            name="fk_outcomes_market_id_forecasts",
        ),
        sa.CheckConstraint(
            "((kind = 'revised') = (revision > 0)) AND forecast_number < number"
            f" AND ((kind = 'unresolved') = (log_move IS NULL)) AND {together}",
            name="ck_outcomes_kind",
        ),
    )


def _sqlite() -> list[str]:
    """A REPLACE deletes without asking a DELETE trigger, so no existing key may come in."""
    statements = []
    for table in _TABLES:
        for change in ("UPDATE", "DELETE"):
            statements.append(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}"
                " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
        keys = (("number",), ("prev_hash",), _OWN_KEYS[table])
        taken = " OR ".join(_exists(table, key) for key in keys)
        statements.append(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {taken}"
            " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: the row is there'); END"
        )
        statements.append(f"CREATE TRIGGER {table}_link BEFORE INSERT ON {table} {_NO_LINK}")
    return statements


def _exists(table: str, key: tuple[str, ...]) -> str:
    same = " AND ".join(f"{name} = NEW.{name}" for name in ("market_id", *key))
    return f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 - of this file's names


_NO_LINK = """
WHEN NEW.number IS NOT 1 + max(
    coalesce((SELECT max(number) FROM forecasts WHERE market_id = NEW.market_id), 0),
    coalesce((SELECT max(number) FROM outcomes WHERE market_id = NEW.market_id), 0)
) OR NEW.prev_hash IS NOT coalesce(
    (SELECT row_hash FROM forecasts
        WHERE market_id = NEW.market_id AND number = NEW.number - 1),
    (SELECT row_hash FROM outcomes
        WHERE market_id = NEW.market_id AND number = NEW.number - 1),
    zeroblob(32)
)
BEGIN SELECT RAISE(ABORT, 'the row does not follow the head of the ledger'); END
"""


def _postgresql() -> list[str]:
    statements = [_REFUSE_CHANGE, _REQUIRE_LINK]
    for table in _TABLES:
        statements += [
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()",
            f"CREATE TRIGGER {table}_link BEFORE INSERT ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION ledger_require_link()",
            _REVOKE.replace("LEDGER", table),
        ]
    return statements


_REFUSE_CHANGE = """
CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END $$
"""

_REQUIRE_LINK = """
CREATE FUNCTION ledger_require_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head record;
BEGIN
    SELECT number, row_hash INTO head FROM (
        (SELECT number, row_hash FROM forecasts WHERE market_id = NEW.market_id
            ORDER BY number DESC LIMIT 1)
        UNION ALL
        (SELECT number, row_hash FROM outcomes WHERE market_id = NEW.market_id
            ORDER BY number DESC LIMIT 1)
    ) AS ends ORDER BY number DESC LIMIT 1;
    IF NEW.number <> coalesce(head.number, 0) + 1
        OR NEW.prev_hash <> coalesce(head.row_hash, decode(repeat('00', 32), 'hex'))
    THEN
        RAISE EXCEPTION 'the row does not follow the head of the ledger';
    END IF;
    RETURN NEW;
END $$
"""

# Default privileges may have given the runtime role, whatever its name, more than it must have.
_REVOKE = """
DO $$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN
        SELECT DISTINCT given.grantee FROM pg_class AS t, aclexplode(t.relacl) AS given
        WHERE t.oid = 'LEDGER'::regclass AND given.grantee <> t.relowner
    LOOP
        EXECUTE format(
            'REVOKE UPDATE, DELETE, TRUNCATE ON LEDGER FROM %s',
            CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
        );
    END LOOP;
END $$
"""
