"""`python -m prediction_svc verify`, also while the service has its database open."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from prediction_svc.cli import main
from prediction_svc.ledger import Ledger
from prediction_svc.testing import FIRST_DAY, batch_of, close_of, writable_ledger

MARKET = "demo:1"


@pytest.fixture
async def ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    monkeypatch.setenv("PREDICTION_DATABASE_URL", database_url)
    monkeypatch.delenv("FORETICK_SERVICE_TOKEN", raising=False)
    async with writable_ledger(database_url) as (_, ledger):
        yield ledger


async def verify(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["verify", *arguments])


async def test_a_sound_ledger_and_its_head(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await verify() == 0
    assert "nothing has been written down yet" in capsys.readouterr().out
    await ledger.append(MARKET, batch_of(FIRST_DAY), close_of(FIRST_DAY))
    published = str(await ledger.head(MARKET))
    await ledger.append(MARKET, batch_of(FIRST_DAY + 1), close_of(FIRST_DAY + 1))
    assert await verify("--market", MARKET, "--expect-head", published) == 0
    assert "demo:1: 18 rows, all as they were written" in capsys.readouterr().out


async def test_a_head_that_is_not_in_it_is_a_fault(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    await ledger.append(MARKET, batch_of(FIRST_DAY), close_of(FIRST_DAY))
    assert await verify("--market", MARKET, "--expect-head", "0" * 64) == 1
    assert "the tail was cut off, or the chain rewritten" in capsys.readouterr().out


async def test_a_head_needs_its_market(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert await verify("--expect-head", "0" * 64) == 2
    assert "--market" in capsys.readouterr().err


def test_no_database_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREDICTION_DATABASE_URL", "sqlite:////not/there.db")
    assert main(["verify"]) == 2
    assert capsys.readouterr().err == "there is no database /not/there.db\n"
