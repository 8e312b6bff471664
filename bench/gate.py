"""The gates of CI: ratios of CPU, with generous margins, and the number of calls; never seconds."""

from bench.load import interleaved
from bench.reporting import HEADER, at_most, entry, ratios
from bench.stage import csv_stage, temporary_folder
from bench.watchlist_page import CONNECTIONS, calls_of_a_page, hello, page_of

ROUNDS = 5
SECONDS = 1.0
MOST_CPU = 7.0  # twice the goal


def check() -> int:
    """Measure a warm page; 0 if it passes."""
    with temporary_folder() as folder, csv_stage(folder) as stage, hello() as plain:
        # Of the gateway alone: what the others do by themselves is shared by more or less pages,
        # as the machine allows, and what pages ask of them is counted in calls.
        page = page_of(stage, stage.stack.url, stage.pids[0])
        targets = {"hello": plain, "page": page}
        measured = interleaved(targets, connections=CONNECTIONS, seconds=SECONDS, rounds=ROUNDS)
        cpu = [[each.cpu_each for each in measured[name]] for name in ("page", "hello")]
        calls = calls_of_a_page(stage)[0]
    # The least of the rounds: whoever disturbs them only adds.
    over = min(ratios(*cpu))
    gates = [
        entry("gate", "page, CPU of the gateway over hello's", [over], "×", at_most(MOST_CPU)),
        calls,
    ]
    print(HEADER)
    for gate in gates:
        print(gate.row())
    return 0 if all(gate.met for gate in gates) else 1
