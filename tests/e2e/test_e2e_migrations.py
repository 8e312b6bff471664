"""The revision that a service's code needs."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from foretick_rpc.migrations import newest_revision

PACKAGES = ("quote_svc", "prediction_svc", "subscription_svc")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_newest_file_is_alembics_head(package: str) -> None:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.set_main_option("path_separator", "os")
    assert newest_revision(package) == ScriptDirectory.from_config(config).get_current_head()


@pytest.mark.parametrize("package", PACKAGES)
def test_who_serves_loads_no_alembic(package: str) -> None:
    loaded = f"import sys, {package}.app; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


SERVING = """
import asyncio, sys
import {package}.app
from foretick_rpc.database import open_database
async def main():
    async with open_database("sqlite:///{path}", "{package}"):
        sys.exit("sqlalchemy.orm" in sys.modules)
asyncio.run(main())
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_who_serves_from_sqlite_loads_nothing_of_what_postgresql_takes(
    package: str, tmp_path: Path
) -> None:
    program = SERVING.format(package=package, path=tmp_path / "a.db")
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
