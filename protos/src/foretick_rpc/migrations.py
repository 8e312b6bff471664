"""Alembic, told where a service keeps its migrations."""

from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def upgrade(connection: Connection, package: str) -> None:
    """Run the migrations of `<package>.migrations` that have not been run."""
    config = _config(package)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


class Revisions(NamedTuple):
    """The revision that the tables are at, empty for none, and the one that the code needs."""

    found: str
    wanted: str


def revisions(connection: Connection, package: str) -> Revisions:
    """The revisions of a service's tables."""
    wanted = ScriptDirectory.from_config(_config(package)).get_current_head() or ""
    return Revisions(MigrationContext.configure(connection).get_current_revision() or "", wanted)


def _config(package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.set_main_option("path_separator", "os")
    return config
