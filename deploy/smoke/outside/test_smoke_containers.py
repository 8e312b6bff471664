"""What the containers of the running stack can and cannot do."""

import json

import pytest

from compose import OURS, SECRETS, SERVICES, containers, docker, probe, service_of

PRIVILEGE_MISSING = "42501"


@pytest.mark.parametrize("service", OURS)
def test_a_container_is_confined(service: str) -> None:
    found = json.loads(probe(service, "confinement"))
    assert found["uid"] >= 1000
    assert set(found["capabilities"].values()) == {0}
    assert found["no_new_privileges"] == "1"
    assert found["refusals"] == {
        "/": "EROFS",
        "/foretick": "EROFS",
        "/venv/bin": "EROFS",
        "/tmp": "",  # noqa: S108 - of the container alone
    }
    assert found["compilers"] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reaches_no_database_but_its_own(service: str) -> None:
    found = json.loads(probe(service, "databases"))
    own = found["database"]
    assert own == service.removesuffix("-svc")
    assert found["refusals"].pop(own) == ""
    assert set(found["refusals"].values()) == {PRIVILEGE_MISSING}
    assert found["count"] == ""
    for change in ("create_table", "create_schema", "drop_table"):
        assert found[change] == PRIVILEGE_MISSING, change


def test_no_role_may_connect_elsewhere() -> None:
    query = """SELECT rolname, datname FROM pg_roles, pg_database
        WHERE rolcanlogin AND NOT rolsuper AND datallowconn
        AND has_database_privilege(rolname, datname, 'CONNECT') ORDER BY rolname"""
    rows = docker(
        *("compose", "exec", "-T", "postgres", "psql", "--username=postgres"),
        *("--tuples-only", "--no-align", f"--command={query}"),
    )
    assert {tuple(row.split("|")) for row in rows.split()} == {
        (role, database)
        for database in ("quote", "prediction", "subscription")
        for role in (database, f"{database}_owner")
    }


def test_the_gateway_does_not_reach_postgres() -> None:
    postgres = next(one for one in containers() if service_of(one) == "postgres")
    addresses = [
        network["IPAddress"] for network in postgres["NetworkSettings"]["Networks"].values()
    ]
    assert len(addresses) == 1
    for address in ("postgres", *addresses):
        assert probe("gateway", "reach", address, "5432") != "reached"
        assert probe("quote-svc", "reach", address, "5432") == "reached"


def test_only_the_gateway_is_published_and_only_here() -> None:
    published = {
        (service_of(container), port, binding["HostIp"])
        for container in containers()
        for port, bindings in container["NetworkSettings"]["Ports"].items()
        for binding in bindings or ()
    }
    assert published == {("gateway", "8080/tcp", "127.0.0.1")}


def test_secrets_are_shown_nowhere() -> None:
    # Of an address, the password is the secret.
    values = {
        path.name: path.read_text().strip().removesuffix("\n").split("@")[0].split(":")[-1]
        for path in SECRETS.iterdir()
    }
    assert {"service-token", "postgres-password", "quote-owner-url"} <= values.keys()
    shown = {
        "config": docker("compose", "--profile", "smoke", "config"),
        "logs": docker("compose", "logs", "--no-color"),
        "inspect": json.dumps(containers()),
    }
    for where, text in shown.items():
        assert [name for name, value in values.items() if value in text] == [], where
