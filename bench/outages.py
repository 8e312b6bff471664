"""Measure 10: the page while a service is away, killed without notice, and once it is back."""

import time

from bench.reporting import Entry, at_most, entry, quantile
from bench.stage import Stage, csv_stage, is_whole, page_json, read_page, temporary_folder
from foretick_rpc.healthcheck import is_serving

ROUNDS = 3
PAGES = 60
GIVE_UP_SECONDS = 60.0
# What the JSON of the page says beside rows that are old or empty.
REASONS = {"quote-svc": "priceReason", "prediction-svc": "forecastReason"}


def measure() -> list[Entry]:
    """Kill each of the two services that a page can do without, several times."""
    entries = []
    with temporary_folder() as folder, csv_stage(folder) as stage:
        for name in REASONS:
            entries += _without(stage, name)
    return entries


def _without(stage: Stage, name: str) -> list[Entry]:
    slower, marked, back = [], [], []
    for _ in range(ROUNDS):
        normal = quantile(_times(stage), 0.5)
        stage.stack.processes.pop(name).kill()
        told = _until_marked(stage, name)
        slower.append(quantile(_times(stage), 0.5) / normal)
        marked.append(1000 * told)
        stage.stack.start(name)
        back.append(_resync_seconds(stage, name))
    return [
        entry("10", f"page without {name}, median over the normal one", slower, "×", at_most(2)),
        entry("10", f"page says that {name} is away, after", marked, "ms"),
        entry("10", f"page whole again after {name} is serving", back, "s", at_most(2)),
    ]


def _times(stage: Stage) -> list[float]:
    """Seconds of pages, one after the other; raises OSError where one isn't 200."""
    taken = []
    for turn in range(PAGES):
        begun = time.perf_counter()
        read_page(stage.stack.url, stage.cookies[turn])
        taken.append(time.perf_counter() - begun)
    return taken


def _is_marked(stage: Stage, name: str) -> bool:
    return page_json(stage.stack.url, stage.cookies[0])[REASONS[name]] is not None


def _until_marked(stage: Stage, name: str) -> float:
    begun = time.perf_counter()
    while not _is_marked(stage, name):
        if time.perf_counter() - begun > GIVE_UP_SECONDS:
            raise TimeoutError(f"no page says that {name} is away")
        time.sleep(0.02)
    return time.perf_counter() - begun


def _resync_seconds(stage: Stage, name: str) -> float:
    """From the service's own word that it is serving to a page without a mark."""
    give_up = time.perf_counter() + GIVE_UP_SECONDS
    while not is_serving(stage.stack.target(name), 0.5):
        time.sleep(0.02)
        if time.perf_counter() > give_up:
            raise TimeoutError(f"{name} does not come back")
    begun = time.perf_counter()
    while True:
        page = page_json(stage.stack.url, stage.cookies[0])
        if page[REASONS[name]] is None and is_whole(page):
            return time.perf_counter() - begun
        if time.perf_counter() > give_up:
            raise TimeoutError(f"no page is whole again after {name} came back")
        time.sleep(0.02)
