"""The revisions of a service's tables, and Alembic, told where the service keeps its migrations.

Alembic itself is loaded only to migrate: a service that runs has no use for its 11 MiB.
"""

from importlib import resources
from typing import NamedTuple

from sqlalchemy import Connection, inspect, text


def upgrade(connection: Connection, package: str) -> None:
    """Run the migrations of `<package>.migrations` that have not been run."""
    from alembic import command  # noqa: PLC0415 - see the module
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


class Revisions(NamedTuple):
    """The revision that the tables are at, empty for none, and the one that the code needs."""

    found: str
    wanted: str


def revisions(connection: Connection, package: str) -> Revisions:
    """The revisions of a service's tables."""
    found = ""
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(_VERSION).scalar_one_or_none() or ""
    return Revisions(found, newest_revision(package))


def newest_revision(package: str) -> str:
    """What the newest migration's file name begins with, which is its revision: 0003_ledger.py."""
    folder = resources.files(f"{package}.migrations").joinpath("versions")
    names = (each.name for each in folder.iterdir() if each.name.endswith(".py"))
    return max((name.split("_")[0] for name in names if name[0].isdigit()), default="")


_VERSION = text("SELECT version_num FROM alembic_version")
