"""How fast is the store? Writes verdicts and reads the views over many, and prints seconds, of the clock and of CPU.

On a machine that is busy with something else the CPU seconds (of all threads) are the ones to read.

    python benchmarks/store.py [--verdicts 100000] [--pairs-over 1000000] [--folder DIR]

It needs about 1 GB of disk in the folder (a temporary one by default, removed at the end) and 2 GB of memory.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from rlaif.types import Candidate, Preference, Question, Verdict
from stores.store import Store

K = 4  # candidates a question
CHUNK = 100_000  # rows of one write while the large database is filled
TEXT = (
    "The first tests are a blood count and an X-ray of the chest; treatment begins with rest and plenty of fluids. " * 4
)


def ident(kind: str, i: int) -> str:
    """Like a content hash: 16 hex digits in no order."""
    return hashlib.sha256(f"{kind}{i}".encode()).hexdigest()[:16]


def verdict(i: int, judge: str = "j") -> Verdict:
    return Verdict(
        ident("c", i), judge, 0, "scored", i % 10 / 10, 0.5, 0.5, 0.5, "names all key points", '{"score": 0.5}'
    )


def candidate(i: int) -> Candidate:
    return Candidate(ident("c", i), 1, ident("q", i // K), "p", "s", i % K, 0, i, TEXT, 90, "stop", -50.0, {"k": K})


def question(i: int) -> Question:
    return Question(ident("q", i), "medquad_style", "train", str(i), str(i), "What are the treatments for this?")


def preference(i: int) -> Preference:
    """One in five is kept: 50,000 pairs over a million verdicts."""
    ids = (ident("c", K * i), ident("c", K * i + 1))
    status, reason = ("dropped", "tie: both 0.50") if i % 5 else ("kept", "")
    return Preference(ident("x", i), 1, ident("q", i), "j", status, reason, *ids, 0.9, 0.4, 0.5)  # type: ignore[arg-type]


def timed(label: str, work: Callable[[], Any]) -> Any:
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    print(f"{time.perf_counter() - start:8.3f} s {time.process_time() - cpu:8.3f} s CPU  {label}", flush=True)
    return result


def fill(store: Store, table: str, make: Callable[[int], Any], count: int) -> None:
    for start in range(0, count, CHUNK):
        store.write({table: [make(i) for i in range(start, min(start + CHUNK, count))]})


def small_writes(store: Store, first: int, times: int = 10) -> None:
    for i in range(times):
        store.write({"verdicts": [verdict(first + 200 * i + j) for j in range(200)]})


def run(folder: Path, verdicts: int, pairs_over: int) -> None:
    row: dict[str, Any] = {"run_id": "r", "profile": "p", "config": {}, "config_hash": "c", "seed": 0}
    store = timed("create a store", lambda: Store.create(folder / "small", row))
    timed("10 writes of 200 verdicts, empty store", lambda: small_writes(store, 10**9))
    rows: Sequence[Verdict] = [verdict(i) for i in range(verdicts)]
    timed(f"write {verdicts:,} verdicts at once", lambda: store.write({"verdicts": rows}))
    timed("the same again (nothing to insert)", lambda: store.write({"verdicts": rows}))
    timed("10 writes of 200 verdicts", lambda: small_writes(store, 2 * 10**9))

    large = Store.create(folder / "large", row)
    for table, make, count in (
        ("questions", question, pairs_over // K),
        ("candidates", candidate, pairs_over),
        ("verdicts", verdict, pairs_over),
        ("preferences", preference, pairs_over // K),
    ):
        timed(f"fill {table} with {count:,} rows", partial(fill, large, table, make, count))
    timed("the first query after opening", lambda: large.query("SELECT count(*) FROM candidates"))
    for label, sql in (
        ("preference_pairs, counted", "SELECT count(*) FROM preference_pairs"),
        ("preference_pairs, one page", "SELECT * FROM preference_pairs LIMIT 20"),
        (
            "preference_pairs, all read inside DuckDB",
            "SELECT count(*), sum(length(chosen) + length(rejected)) FROM preference_pairs",
        ),
        ("preference_pairs, all as Python objects", "SELECT * FROM preference_pairs"),
        ("round_summary", "SELECT * FROM round_summary"),
        ("judge_agreement, one judge", "SELECT * FROM judge_agreement"),
    ):
        timed(f"{label}, {pairs_over:,} verdicts", partial(large.query, sql))
    second = min(CHUNK, pairs_over)
    large.write({"verdicts": [verdict(i, "k") for i in range(second)]})
    timed(
        f"judge_agreement, a second judge on {second:,} candidates",
        lambda: large.query("SELECT * FROM judge_agreement"),
    )
    timed(f"10 writes of 200 verdicts, {pairs_over:,} there", lambda: small_writes(large, 10**9))
    print(f"{large.path.stat().st_size / 1e6:8.0f} MB  the large database")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=100_000, help="verdicts in one write (%(default)s)")
    parser.add_argument("--pairs-over", type=int, default=1_000_000, help="verdicts under the views (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where to put the databases, kept; default a temporary folder")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        run(arguments.folder, arguments.verdicts, arguments.pairs_over)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.verdicts, arguments.pairs_over)


if __name__ == "__main__":
    main()
