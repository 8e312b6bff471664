"""Run inside a container: prints as JSON what PostgreSQL allows the service's own credentials."""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

URL = next(Path("/run/secrets").glob("*_DATABASE_URL")).read_text().strip()
DATABASES = ("quote", "prediction", "subscription", "postgres", "template1")


async def refusals() -> dict[str, str]:
    """For each database the SQLSTATE that refuses the connection, empty where it is accepted."""
    answers = {}
    for database in DATABASES:
        try:
            connection = await asyncpg.connect(URL, database=database, timeout=10)
        except asyncpg.PostgresError as error:
            answers[database] = str(error.sqlstate)
        else:
            answers[database] = ""
            await connection.close()
    return answers


async def may(statement: str) -> str:
    """The SQLSTATE that refuses the statement in the service's own database; empty if none does."""
    connection = await asyncpg.connect(URL, timeout=10)
    try:
        # Closing ends the transaction, and nothing has happened.
        await connection.execute("BEGIN")
        await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    finally:
        await connection.close()
    return ""


async def main() -> None:
    """Try everything."""
    answer = {
        "database": urlsplit(URL).path.removeprefix("/"),
        "refusals": await refusals(),
        "create_table": await may("CREATE TABLE smoke_probe (n integer)"),
        "create_schema": await may("CREATE SCHEMA smoke_probe"),
        "drop_table": await may("DROP TABLE alembic_version"),
        "count": await may("SELECT count(*) FROM alembic_version"),
    }
    json.dump(answer, sys.stdout)


asyncio.run(main())
