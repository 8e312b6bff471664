"""Hashing away from the event loop."""

import asyncio
import threading

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from subscription_svc.passwords import WORKERS, Passwords

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_a_hash_matches_its_password_alone() -> None:
    async with Passwords(CHEAP) as passwords:
        password_hash = await passwords.hash("correct horse")
        assert await passwords.matches(password_hash, "correct horse")
        assert not await passwords.matches(password_hash, "wrong horse")
        assert not await passwords.matches(None, "correct horse")
        assert await passwords.hash("correct horse") != password_hash


async def test_a_hash_is_outdated_when_the_parameters_are_others() -> None:
    async with Passwords(CHEAP) as passwords:
        assert not passwords.outdated(CHEAP.hash("x"))
        assert passwords.outdated(PasswordHasher(2, 8, 1).hash("x"))


async def test_a_broken_hash_is_a_failure_and_not_a_wrong_password() -> None:
    class OutOfMemory(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002 the library's name
            raise VerificationError("Memory allocation error")

    async with Passwords(CHEAP) as passwords:
        with pytest.raises(InvalidHashError):
            await passwords.matches("not a hash", "correct horse")
    async with Passwords(OutOfMemory(1, 8, 1)) as passwords:
        with pytest.raises(VerificationError):
            await passwords.matches(CHEAP.hash("x"), "x")


async def test_not_even_the_dummy_signs_anybody_in() -> None:
    seen: list[str] = []

    class Overheard(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            seen.append(str(password))
            return super().hash(password, salt=salt)

    async with Passwords(Overheard(1, 8, 1)) as passwords:
        [dummy] = seen
        assert not await passwords.matches(None, dummy)


async def test_calls_that_are_given_up_are_not_worked_off() -> None:
    gate = threading.Event()
    made: list[str] = []

    class Held(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            if password in {"held", "queued"}:
                made.append(str(password))
                assert gate.wait(timeout=30)
            return super().hash(password, salt=salt)

    async with Passwords(Held(1, 8, 1)) as passwords:
        held = [asyncio.ensure_future(passwords.hash("held")) for _ in range(WORKERS)]
        queued = [asyncio.ensure_future(passwords.hash("queued")) for _ in range(50)]
        await asyncio.sleep(0)
        for call in queued:
            call.cancel()
        await asyncio.gather(*queued, return_exceptions=True)
        gate.set()
        await asyncio.gather(*held)
        assert await passwords.hash("another one")
    assert made == ["held"] * WORKERS
