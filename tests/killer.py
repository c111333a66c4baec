"""cli.py in a process that kills itself at one named place: `python tests/killer.py PLACE loop --rounds 2 ...`.

PLACE is `ROUND/STAGE:MOMENT`, for example `1/sample:write2`. A stage is named by its beginning, so `evaluate` is the
first evaluation of the round that is still to be done. The moments, each of which ends in SIGKILL:

- `begin`     the stage's row says "running", and nothing else of it was written
- `write<n>`  the n-th write within the stage has been committed (a batch of candidates, a chunk of verdicts)
- `step<n>`   the n-th training step is done; the log is written at every step, so that there is one to drop
- `rename`    an adapter, a checkpoint's mark or the new database lies complete under its temporary name
- `end`       the stage's work is done, and its last write has not begun
- `torn`      the stage's last rows are inserted, and their transaction is not committed

The wrapping happens here, so the production code has no hooks. A process that never comes to PLACE ends as cli.py does.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL returned")


class Killer:
    def __init__(self, round: int, stage: str, moment: str, count: int) -> None:
        self.round, self.stage, self.moment, self.count = round, stage, moment, count
        self.inside, self.last, self.writes, self.steps = False, False, 0, 0

    def about(self, rows: Any) -> str | None:
        """The status in the row of the wanted stage, if `rows` has one."""
        for row in rows.get("stages", ()):
            if row["round"] == self.round and row["stage"].startswith(self.stage):
                return str(row["status"])
        return None

    def write(self, original: Callable[..., None]) -> Callable[..., None]:
        def wrapped(store: Any, rows: Any, **options: Any) -> None:
            status = self.about(rows)
            self.last = status == "done"
            if self.last and self.moment == "end":
                die()
            original(store, rows, **options)
            if status == "running":
                self.inside = True
                if self.moment == "begin":
                    die()
            elif status == "done":
                self.inside = False
            elif self.inside:
                self.writes += 1
                if self.moment == "write" and self.writes == self.count:
                    die()

        return wrapped

    def insert_all(self, original: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any) -> None:
            original(*arguments)
            if self.last and self.moment == "torn":
                die()

        return wrapped

    def on_step_end(self, original: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any, **options: Any) -> None:
            original(*arguments, **options)
            self.steps += self.inside
            if self.moment == "step" and self.steps == self.count:
                die()

        return wrapped

    def rename(self, original: Callable[..., None]) -> Callable[..., None]:
        def wrapped(source: Any, target: Any, **options: Any) -> None:
            new = str(source).endswith((".part", ".new"))
            if new and self.moment == "rename" and (self.inside or self.stage == "create"):
                die()
            original(source, target, **options)

        return wrapped


def main() -> None:
    place = re.fullmatch(r"(\d+)/(\w+):([a-z]+)(\d*)", sys.argv.pop(1))
    assert place, "PLACE is ROUND/STAGE:MOMENT"
    sys.path.insert(0, str(ROOT))
    import rlaif.judging.stage
    import rlaif.loop.rounds
    import rlaif.train.stages
    import rlaif.train.trainer
    import stores.store

    killer = Killer(int(place[1]), place[2], place[3], int(place[4] or 0))
    stores.store.Store.write = killer.write(stores.store.Store.write)  # type: ignore[method-assign]
    stores.store._insert_all = killer.insert_all(stores.store._insert_all)
    rlaif.train.trainer.Report.on_step_end = killer.on_step_end(rlaif.train.trainer.Report.on_step_end)  # type: ignore[method-assign]
    os.rename, os.replace = killer.rename(os.rename), killer.rename(os.replace)
    # Smaller pieces, for something to lie between; what a run ends with does not depend on them.
    rlaif.judging.stage.JUDGE_CHUNK = 16
    rlaif.train.stages.FLUSH_EVERY = 0.0
    import cli

    cli.main()


if __name__ == "__main__":
    main()
