import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp_session import Session
from cryptography.fernet import Fernet, MultiFernet

from foretick_rpc.errors import StartupError
from gateway import sign_in_cookie
from gateway.key_files import csrf_key, read_or_make, session_keys
from gateway.sign_in_cookie import (
    COOKIE_NAME,
    LASTING,
    MAX_AGE_SECONDS,
    RENEW_SECONDS,
    SignInCookieStorage,
)
from gateway.visitors import VISITOR, Visitor


class CountingFernet(MultiFernet):
    decrypted = 0

    def decrypt_at_time(self, msg: bytes | str, ttl: int, current_time: int) -> bytes:
        self.decrypted += 1
        return super().decrypt_at_time(msg, ttl, current_time)


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def storage_of(
    *keys: bytes, now: Callable[[], float] = time.time
) -> tuple[SignInCookieStorage, CountingFernet]:
    fernet = CountingFernet([Fernet(key) for key in keys])
    return SignInCookieStorage(fernet, now=now), fernet


def request_with(cookies: str = "", scheme: str = "http") -> web.Request:
    request = make_mocked_request("GET", "/", headers={"Cookie": cookies})
    request[VISITOR] = Visitor("", "", scheme)
    return request


async def written_by(
    storage: SignInCookieStorage, *, scheme: str = "http", lasting: bool = False
) -> Any:
    session = await storage.new_session()
    session["identity"] = "account:sign-in"
    session[LASTING] = lasting
    response = web.Response()
    await storage.save_session(request_with(scheme=scheme), response, session)
    (cookie,) = response.cookies.values()
    return cookie


async def made_by(storage: SignInCookieStorage) -> str:
    return str((await written_by(storage)).value)


async def read_by(storage: SignInCookieStorage, cookie: str) -> Session:
    return await storage.load_session(request_with(f"{COOKIE_NAME}={cookie}"))


async def test_a_cookie_is_decrypted_once_and_read_often() -> None:
    storage, fernet = storage_of(Fernet.generate_key())
    cookie = await made_by(storage)
    for _ in range(3):
        session = await read_by(storage, cookie)
        assert session["identity"] == "account:sign-in"
        session.invalidate()  # what one request does to its session is not seen by the next
    assert fernet.decrypted == 1


async def test_a_remembered_cookie_still_grows_old(clock: Clock) -> None:
    storage, fernet = storage_of(Fernet.generate_key(), now=clock)
    cookie = await made_by(storage)
    assert not (await read_by(storage, cookie)).empty
    clock.now += MAX_AGE_SECONDS + 2
    assert (await read_by(storage, cookie)).empty
    assert fernet.decrypted == 1
    assert (await read_by(storage, cookie)).empty  # forgotten, and refused by its timestamp


async def test_a_cookie_in_use_is_written_anew_once_a_day(clock: Clock) -> None:
    storage, _ = storage_of(Fernet.generate_key(), now=clock)
    cookie = await made_by(storage)
    for elapsed, is_due in ((RENEW_SECONDS - 2, False), (4, True)):
        clock.now += elapsed
        session = await read_by(storage, cookie)
        assert session["identity"] == "account:sign-in"
        assert session._changed is is_due
    response = web.Response()
    await storage.save_session(request_with(), response, session)
    clock.now += MAX_AGE_SECONDS - 2
    assert (await read_by(storage, cookie)).empty
    assert not (await read_by(storage, response.cookies[COOKIE_NAME].value)).empty


@pytest.mark.parametrize("lasting", [False, True])
async def test_a_cookie_lasts_beyond_the_window_only_if_it_is_meant_to(lasting: bool) -> None:
    written = await written_by(storage_of(Fernet.generate_key())[0], lasting=lasting)
    assert (f"Max-Age={MAX_AGE_SECONDS}" in written.OutputString()) is lasting
    assert "expires" not in written.OutputString().lower()


async def test_by_tls_a_cookie_that_another_host_could_have_set_is_none() -> None:
    storage, _ = storage_of(Fernet.generate_key())
    written = await written_by(storage, scheme="https")
    assert written.key == f"__Host-{COOKIE_NAME}"
    assert (written["path"], written["domain"]) == ("/", "")
    for name, is_read in ((written.key, True), (COOKIE_NAME, False)):
        request = request_with(f"{name}={written.value}", scheme="https")
        assert bool(await storage.load_session(request)) is is_read


async def test_a_new_first_key_encrypts_while_older_ones_still_decrypt() -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    old_cookie = await made_by(storage_of(old)[0])
    rotated, _ = storage_of(new, old)
    assert (await read_by(rotated, old_cookie))["identity"] == "account:sign-in"
    new_cookie = await made_by(rotated)
    assert not (await read_by(storage_of(new)[0], new_cookie)).empty
    assert (await read_by(storage_of(old)[0], new_cookie)).empty


@pytest.mark.parametrize("cookie", ["", "x", "gAAAA", "é" * 40, "A" * 5000, "gAAAAAB" + "A" * 100])
async def test_an_unreadable_cookie_is_none(cookie: str) -> None:
    storage, _ = storage_of(Fernet.generate_key())
    assert (await read_by(storage, cookie)).empty


async def test_a_tampered_cookie_is_none() -> None:
    storage, _ = storage_of(Fernet.generate_key())
    cookie = await made_by(storage)
    for place in (10, 40, len(cookie) - 10):
        swapped = "A" if cookie[place] != "A" else "B"
        assert (await read_by(storage, cookie[:place] + swapped + cookie[place + 1 :])).empty


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_cookie, "REMEMBERED", 2)
    storage, fernet = storage_of(Fernet.generate_key())
    cookies = [await made_by(storage) for _ in range(3)]
    for cookie in cookies:
        await read_by(storage, cookie)
    await read_by(storage, cookies[2])
    assert fernet.decrypted == 3
    await read_by(storage, cookies[0])  # the oldest had to go
    assert fernet.decrypted == 4


def test_keys_are_made_once_for_the_owner_alone_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    token = session_keys(folder).encrypt(json.dumps({}).encode())
    path = folder / "gateway-session.keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert session_keys(folder).decrypt(token) == b"{}"
    assert csrf_key(folder) == csrf_key(folder)
    assert sorted(each.name for each in folder.iterdir()) == [
        "gateway-csrf.key",
        "gateway-session.keys",
    ]


def test_processes_that_start_together_agree_on_the_key(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    with ThreadPoolExecutor(16) as pool:
        contents = set(pool.map(lambda number: read_or_make(path, b"%d" % number), range(64)))
    assert len(contents) == 1


def test_a_process_that_was_a_moment_too_late_takes_the_other_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.key"
    monkeypatch.setattr(os, "fsync", lambda _descriptor: path.write_bytes(b"the other's"))
    assert read_or_make(path, b"ours") == b"the other's"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "not a key\n"])
def test_a_bad_key_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "gateway-session.keys").write_text(content)
    with pytest.raises(StartupError, match=r"gateway-session\.keys"):
        session_keys(tmp_path)
