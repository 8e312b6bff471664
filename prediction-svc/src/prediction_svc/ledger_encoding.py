"""How a row of the ledger is hashed.

The encoding is ASCII text that anybody can write again from the columns: a first line with the
table and the version, then a line `name=value` for each field in the order below, each ended by a
newline. Version 1 is that of every row without yardsticks; a forecast that has them is written in
version 2, with a line for them after the others. So taking them away, or giving some to a row that
had none, changes the hash as well. A value is

* text: a JSON string with everything beyond ASCII escaped;
* a whole number, and a flag as 0 or 1: its decimal digits;
* a floating-point number: the C99 hexadecimal form that Python's `float.hex` gives, which tells
  all its 64 bits and depends on no library's rounding; never NaN or infinite;
* bytes: lower-case hexadecimal digits;
* nothing (NULL): a minus sign.

row_hash = SHA-256(prev_hash ‖ encoding), where prev_hash is 32 zero bytes for the first row.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

GENESIS = bytes(32)

Field = tuple[str, type, bool]
"""Name, type in Python, and whether NULL is allowed."""

FORECAST_FIELDS: tuple[Field, ...] = (
    ("market_id", str, False),
    ("number", int, False),
    ("kind", str, False),
    ("symbol", str, False),
    ("horizon", int, False),
    ("as_of_day", int, False),
    ("target_day", int, False),
    ("target_inferred", int, False),
    ("issue_micros", int, False),
    ("deadline_micros", int, False),
    ("forecaster", str, False),
    ("model_version", str, False),
    ("inputs_hash", bytes, True),
    ("actions_version", str, False),
    ("currency_code", str, False),
    ("reference_close", float, True),
    ("q05", float, True),
    ("q10", float, True),
    ("q25", float, True),
    ("q50", float, True),
    ("q75", float, True),
    ("q90", float, True),
    ("q95", float, True),
    ("p_up", float, True),
    ("expected_move", float, True),
    ("reason", str, False),
)
YARDSTICKS: Field = ("yardsticks", bytes, False)

OUTCOME_FIELDS: tuple[Field, ...] = (
    ("market_id", str, False),
    ("number", int, False),
    ("kind", str, False),
    ("forecast_number", int, False),
    ("revision", int, False),
    ("record_micros", int, False),
    ("resolved_day", int, True),
    ("delayed", int, False),
    ("close", float, True),
    ("split_factor", float, True),
    ("dividend", float, True),
    ("log_move", float, True),
    ("reason", str, False),
)

_FIELDS = {
    ("forecasts", 1): FORECAST_FIELDS,
    ("forecasts", 2): (*FORECAST_FIELDS, YARDSTICKS),
    ("outcomes", 1): OUTCOME_FIELDS,
}
_WRITTEN: Mapping[type, Callable[[Any], str]] = {
    str: json.dumps,
    int: str,
    float: float.hex,
    bytes: bytes.hex,
}


def encode(table: str, row: Mapping[str, object]) -> bytes:
    """The canonical encoding of a row of `forecasts` or `outcomes`.

    Raises ValueError, naming the field, where a value is not of its type.
    """
    version = 1 if row.get("yardsticks") is None else 2
    lines = [f"foretick {table} {version}\n"]
    for name, kind, optional in _FIELDS[table, version]:
        value = row[name]
        if value is None and optional:
            lines.append(f"{name}=-\n")
        elif type(value) is kind and not (kind is float and not math.isfinite(value)):  # type: ignore[arg-type]
            lines.append(f"{name}={_WRITTEN[kind](value)}\n")
        else:
            raise ValueError(f"{name} is {value!r}, not a {kind.__name__}")
    return "".join(lines).encode("ascii")


def row_hash(prev_hash: bytes, table: str, row: Mapping[str, object]) -> bytes:
    """What the next row of the chain is linked to. Raises ValueError as `encode` does."""
    return hashlib.sha256(prev_hash + encode(table, row)).digest()
