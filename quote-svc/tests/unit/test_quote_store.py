"""The store: what is written is read again, damage shows, and a kill leaves nothing by halves."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import func, update

from foretick_rpc.database import Database, migrate, open_database
from quote_svc.bar_blob import BlobDamaged, decoded, encoded
from quote_svc.market import Bars, InstrumentKind
from quote_svc.source import SourceInstrument, SourceQuote
from quote_svc.store import Store
from quote_svc.stored_symbol import Gap, Provenance, StoredSymbol, recent_closes_of, tail_of
from quote_svc.tables import histories

NOW = datetime(2026, 11, 20, 21, 30, 0, 250_000, tzinfo=UTC)


def some_bars(sessions: int, seed: int = 1) -> Bars:
    chance = np.random.default_rng(seed)
    days = np.arange(sessions, dtype=np.int64) + 18_000
    closes = 100 * np.exp(np.cumsum(chance.normal(0, 0.01, sessions)))
    columns = (closes * 0.999, closes * 1.01, closes * 0.99, closes)
    volumes = chance.integers(1, 10**9, sessions).astype(np.float64)
    return Bars(
        days, *columns, volumes, np.zeros(sessions), np.ones(sessions), days * 86_400 + 75_600
    )


def some_symbol(symbol: str, bars: Bars) -> StoredSymbol:
    instrument = SourceInstrument(
        symbol, "Some Inc.", InstrumentKind.ETF, "PCX", "America/New_York", "USD", 4
    )
    gaps = (
        Gap(18_001, "the source has no bar", 2, 1.5),
        Gap(18_009, "a price is missing", 6, None),
    )
    return StoredSymbol(
        instrument=instrument,
        provenance=Provenance(NOW, 3, gaps, ("2026-11-19 revised: close 1, now 2",)),
        sessions=len(bars),
        tail=tail_of(bars),
        quote=SourceQuote(101.25, NOW, 100.0, None, 102.0, 12345.0),
        answered_at=NOW,
        asked_at=None,
        unknown_since=NOW,
        unknown_days=2,
        recent_closes=recent_closes_of(bars),
    )


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await migrate(database_url, "quote_svc")
    async with open_database(database_url, "quote_svc") as opened:
        yield opened


def store_of(database: Database, market_id: str = "test") -> Store:
    return Store(database, market_id, lambda _: None)


@pytest.mark.parametrize("sessions", [0, 1, 2, 2016])
def test_a_blob_holds_every_bit(sessions: int) -> None:
    bars = some_bars(sessions)
    again = decoded(encoded(bars))
    for column in fields(Bars):
        ours, theirs = getattr(bars, column.name), getattr(again, column.name)
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def test_a_blob_is_smaller_than_its_columns() -> None:
    assert len(encoded(some_bars(2016))) < 0.6 * 2016 * 9 * 8


def test_any_damage_shows() -> None:
    blob = encoded(some_bars(30))
    for place in range(len(blob)):
        broken = bytearray(blob)
        broken[place] ^= 1
        with pytest.raises(BlobDamaged):
            decoded(bytes(broken))
    for length in range(len(blob)):
        with pytest.raises(BlobDamaged):
            decoded(blob[:length])


async def test_what_is_saved_is_loaded(database: Database) -> None:
    bars = some_bars(500)
    saved = some_symbol("AAA", bars)
    await store_of(database).save(saved, bars)
    fresh = store_of(database)
    assert await fresh.load() == (1, [saved])
    assert (await fresh.bars("AAA")).closes.tobytes() == bars.closes.tobytes()
    with pytest.raises(LookupError):
        await fresh.bars("BBB")


async def test_markets_never_mix(database: Database) -> None:
    one, other = store_of(database, "one"), store_of(database, "other")
    await one.save(some_symbol("AAA", some_bars(3)), some_bars(3))
    assert await other.load() == (0, [])
    with pytest.raises(LookupError):
        await other.bars("AAA")


async def test_the_latest_quote_is_saved_apart_from_the_bars(database: Database) -> None:
    store, bars = store_of(database), some_bars(3)
    saved = some_symbol("AAA", bars)
    await store.save(saved, bars)
    newer = replace(saved, quote=SourceQuote(7.0, NOW), asked_at=NOW)
    await store.save_latest(lambda: [newer])
    assert await store.load() == (2, [newer])
    known_again = replace(newer, unknown_since=None, unknown_days=0)
    await store.save_standing(known_again)
    change, changed = await store.load()
    assert (change, changed) == (3, [known_again])
    assert await store.load(change) == (3, [])
    assert await store_of(database).load(change - 1) == (3, [known_again])


async def test_few_histories_are_kept_unpacked(database: Database) -> None:
    store = store_of(database)
    for number in range(80):
        bars = some_bars(20, seed=number)
        await store.save(some_symbol(f"S{number}", bars), bars)
    first, last = await store.bars("S0"), await store.bars("S79")
    assert await store.bars("S79") is last
    for number in range(80):
        await store.bars(f"S{number}")
    assert await store.bars("S0") is not first
    assert (await store.bars("S0")).closes.tobytes() == first.closes.tobytes()


async def test_damage_in_the_database_is_found(database: Database) -> None:
    bars = some_bars(50)
    await store_of(database).save(some_symbol("AAA", bars), bars)
    cut = update(histories).values(bars=func.substr(histories.c.bars, 1, 400))
    await database.write(lambda connection: connection.execute(cut))
    with pytest.raises(BlobDamaged):
        await store_of(database).bars("AAA")


WRITER = """
import asyncio, sys
import numpy as np
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("store_tests", sys.argv[2])
tests = module_from_spec(spec)
spec.loader.exec_module(tests)

async def write():
    async with tests.open_database(sys.argv[1], "quote_svc") as database:
        store = tests.store_of(database)
        number = 0
        while True:
            number += 1
            bars = tests.some_bars(1000 + number % 1000, seed=number)
            stored = tests.some_symbol(f"S{number % 5}", bars)
            quote = tests.SourceQuote(float(len(bars)), tests.NOW)
            await store.save(replace(stored, quote=quote), bars)
            print(number, flush=True)

asyncio.run(write())
"""


@pytest.mark.parametrize("kills", [3])
async def test_kill_9_while_writing_leaves_nothing_by_halves(database_url: str, kills: int) -> None:
    await migrate(database_url, "quote_svc")
    chance = np.random.default_rng(7)
    for _ in range(int(os.environ.get("FORETICK_KILLS", kills))):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, database_url, __file__, stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        for _ in range(int(chance.integers(6, 40))):
            assert await asyncio.wait_for(writer.stdout.readline(), 60)
        writer.send_signal(signal.SIGKILL)
        assert await writer.wait() == -signal.SIGKILL
        await writer.communicate()
        async with open_database(database_url, "quote_svc") as database:
            store = store_of(database)
            _, loaded = await store.load()
            assert len(loaded) == 5
            for each in loaded:
                bars = await store.bars(each.instrument.symbol)
                assert len(bars) == each.sessions
                assert tail_of(bars) == each.tail
                # Written in the same transaction, in another table.
                assert each.quote is not None
                assert each.quote.price == len(bars)


async def test_readers_never_miss_what_others_write(database: Database) -> None:
    """However many write at once, whoever reads all changes up to a number has read them all."""
    reader, bars = store_of(database), some_bars(3)
    writers = [store_of(database) for _ in range(4)]
    left = {f"S{number}" for number in range(24)}
    change = -1

    async def write(number: int) -> None:
        for symbol in sorted(left)[number::4]:
            await writers[number].save(some_symbol(symbol, bars), bars)

    writing = [asyncio.create_task(write(number)) for number in range(4)]
    async with asyncio.timeout(30):
        while left:
            change, changed = await reader.load(change)
            left -= {each.instrument.symbol for each in changed}
        await asyncio.gather(*writing)
