"""The revision that a service's code needs."""

import subprocess
import sys

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
