"""A stack of two replicas a service, for the tests to disturb."""

from collections.abc import Iterator

import pytest

from compose_project import SCALE, Project


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """The whole stack with the demo market, wiped at the end."""
    project = Project(
        "foretick-faults", QUOTE_MARKET="demo", GATEWAY_PROCESSES="2", PRICES_DIR="deploy"
    )
    project.wipe()
    try:
        project.run("deploy/make-secrets", "deploy/secrets")
        project.up("--build", *SCALE)
        yield project
    finally:
        project.wipe()
