"""Who was signed in when a backup was made is signed in when it is restored."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp

import backup_folder
from backup_file import unpack
from stack import Stack, Visitor, eventually


def browser() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


@contextmanager
def started(stack: Stack) -> Iterator[None]:
    """The two processes that a sign-in needs."""
    with ExitStack() as running:
        for name in ("subscription-svc", "gateway"):
            stack.start(name)
            running.callback(stack.stop, name)
        yield


async def test_a_sign_in_outlives_the_data_folder(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    home, out = tmp_path / "home", tmp_path / "saved.tar"
    async with browser() as first, browser() as second:
        early, late = Visitor(first, stack.url), Visitor(second, stack.url)

        async def is_ready() -> bool:
            try:
                return (await early.get("/readyz"))[0] == 200
            except aiohttp.ClientConnectionError:
                return False

        with started(stack):
            await eventually(is_ready, "the gateway")
            await early.register("a@example.org")
            manifest = await asyncio.to_thread(backup_folder.back_up, home, out)
            await late.register("late@example.org")
        assert manifest.databases["subscription"].rows["accounts"] == 1
        home.rename(tmp_path / "lost")
        unpacked = tmp_path / "unpacked"
        unpacked.mkdir()
        backup_folder.restore(unpack(out, unpacked), unpacked, home, force=False)
        with started(stack):
            await eventually(is_ready, "the gateway")
            assert (await early.subscriptions())["email"] == "a@example.org"
            assert (await late.get("/subscribeList"))[0] == 401
