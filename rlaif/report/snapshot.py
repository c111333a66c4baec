"""A run's state at one moment: one consistent read of what `status` and `runs` tell, and what follows from it.

This needs no torch.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rlaif.checkpoints import under_way
from rlaif.records import ENGINE
from rlaif.report.spread import MEANS, ROUNDS
from rlaif.run import now
from rlaif.types import RlaifError
from rlaif.wording import Rows
from stores.store import Store

_BRIEF = {
    "runs": "SELECT * EXCLUDE (config) FROM runs",
    "policies": "SELECT policy_id, kind, round FROM policies ORDER BY round, created_at, policy_id",
    "rounds": "SELECT * FROM rounds ORDER BY round",
    "stages": "SELECT * EXCLUDE (detail) FROM stages ORDER BY started_at",
    "sessions": 'SELECT * EXCLUDE (versions, "commit", overrides) FROM sessions ORDER BY started_at',
    "decisions": "SELECT * FROM decisions ORDER BY seq",
}
_REST = {
    "summary": ROUNDS,
    "outcomes": "SELECT round, outcome, count(*) AS n FROM pair_outcomes GROUP BY ALL ORDER BY round, n DESC, outcome",
    "gates": "SELECT * FROM gates WHERE delta IS NOT NULL ORDER BY round, look",
    "sealed": "SELECT * FROM sealed_tests ORDER BY opened_at",
    "red": "SELECT round, name, value, threshold FROM monitors WHERE red ORDER BY round, name",
    "means": MEANS,
    # Who gave the scores of HealthBench: they are worth nothing without that name.
    "graders": "SELECT DISTINCT e.benchmark, j.model, j.prompt_name, j.judge_id FROM eval_items e JOIN judges j "
    "USING (judge_id) WHERE starts_with(e.benchmark, 'healthbench') AND e.metric = 'quality' ORDER BY ALL",
    "engines": f"SELECT {ENGINE} AS engine, count(*) AS n FROM candidates WHERE {ENGINE} IS NOT NULL "
    "GROUP BY 1 ORDER BY 1",
}


@dataclass(frozen=True)
class Snapshot:
    """The rows of a run, in the order of time; those of the second half only where :func:`take` was asked for all."""

    folder: Path
    run: dict[str, Any]
    policies: Rows
    rounds: Rows
    stages: Rows
    sessions: Rows
    decisions: Rows
    holder: str | None  # who holds the run's lock, see lock_holder
    checkpoint: int = 0  # the step of the last checkpoint of a training that is not done; 0: none
    summary: Rows = field(default_factory=list)
    outcomes: Rows = field(default_factory=list)  # how many of a round's questions ended as what, most first
    gates: Rows = field(default_factory=list)
    means: Rows = field(default_factory=list)
    sealed: Rows = field(default_factory=list)
    red: Rows = field(default_factory=list)  # the red monitors
    graders: Rows = field(default_factory=list)
    engines: Rows = field(default_factory=list)  # what sampled answers beside the process of the loop, and how many


def take(store: Store, *, brief: bool = False) -> Snapshot:
    """Everything in one query, so that nothing changes in between and the file is opened once.

    `brief`: only what the list of runs needs. RlaifError when the database cannot be read, or holds no run.
    """
    queries = _BRIEF if brief else _BRIEF | _REST
    parts = [f'(SELECT list(t) FROM ({sql}) t) AS "{name}"' for name, sql in queries.items()]
    tables: dict[str, Rows] = {name: rows or [] for name, rows in store.query(f"SELECT {', '.join(parts)}")[0].items()}
    runs = tables.pop("runs")
    if not runs:
        raise RlaifError(f"{store.path}: it has no row in runs")
    folder = store.path.parent
    return Snapshot(folder=folder, run=runs[0], holder=lock_holder(folder), checkpoint=under_way(folder), **tables)


def lock_holder(folder: Path) -> str | None:
    """The process that holds the run's lock ("?" if it left no number); None when nobody does. Makes no file."""
    try:
        handle = os.open(folder / "loop.lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        # Shared, and given back at once: two that ask do not disturb each other.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "?"
    except OSError:  # a file system without locks: then no loop runs on it either
        return None
    finally:
        os.close(handle)
    return None


def champion(snapshot: Snapshot) -> dict[str, Any] | None:
    """The policy promoted last, the base before any was (see `Run.champion`); None before the base is prepared."""
    promoted = [str(json.loads(d["evidence"])["policy_id"]) for d in snapshot.decisions if d["action"] == "PROMOTE"]
    for policy in snapshot.policies:
        if policy["policy_id"] == promoted[-1] if promoted else policy["kind"] == "base":
            return policy
    return None


def state(snapshot: Snapshot) -> str:
    """One line: running, and at what; finished; or stopped, how, and what to do."""
    last = snapshot.sessions[-1] if snapshot.sessions else None
    finished = max((r["round"] for r in snapshot.rounds if r["decision"]), default=None)
    open_round = min((r["round"] for r in snapshot.rounds if not r["decision"]), default=None)
    if snapshot.holder is not None:
        since = f" since {last['started_at']:%Y-%m-%d %H:%M} UTC" if last and is_running(snapshot, last) else ""
        return f"running: pid {snapshot.holder}{since}; {stage_under_way(snapshot)}"
    if last is not None and last["exit_code"] == 0 and open_round is None and finished is not None:
        halted = [(d["kind"], d["action"]) for d in snapshot.decisions[-1:]] == [("controller", "stop")]
        return f"finished round {finished}" + (", where the controller stopped the loop" if halted else "")
    if open_round is not None:
        where = f"in round {open_round}"
    else:
        where = "before round 0" if finished is None else f"after round {finished}"
    at = f", and the training goes on from step {snapshot.checkpoint}" if snapshot.checkpoint else ""
    if last is None:
        return f"stopped {where}, no session was recorded: continue with the same command{at}"
    how = "the last session was killed" if last["ended_at"] is None else f"last exit code {last['exit_code']}"
    command = f" ({shlex.join(last['argv'])})" if last["argv"] else ""
    return f"stopped {where}, {how}: continue with the same command{command}{at}"


def is_running(snapshot: Snapshot, session: dict[str, Any]) -> bool:
    """Has the session no end, and does its process hold the lock?

    The lock goes when a process dies, so a number is never trusted alone.
    """
    return session["ended_at"] is None and snapshot.holder == str(session["pid"])


def stage_under_way(snapshot: Snapshot) -> str:
    """The stage that began last and has not finished, with the time since. Only while a loop runs does it mean that."""
    for stage in reversed([s for s in snapshot.stages if s["status"] == "running"]):
        return f"round {stage['round']}, {stage['stage']} for {duration((now() - stage['started_at']).total_seconds())}"
    return "between two stages"


def duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of all sessions and of the model work in them.

    `share` is model / wall; None before any session has lasted.
    """

    wall: float
    model: float
    sessions: int
    peak_memory_mb: float

    @property
    def share(self) -> float | None:
        return min(self.model / self.wall, 1.0) if self.wall > 0 else None


def time_spent(snapshot: Snapshot) -> Spent:
    """Wall time of the sessions, which begin after the imports.

    A running one counts up to now, a killed one to its last finished stage.
    """
    done = [s for s in snapshot.stages if s["status"] == "done"]
    wall = 0.0
    for index, session in enumerate(snapshot.sessions):
        start: datetime = session["started_at"]
        end = session["ended_at"]
        if end is None and is_running(snapshot, session):
            end = now()
        elif end is None:
            until = snapshot.sessions[index + 1]["started_at"] if index + 1 < len(snapshot.sessions) else now()
            end = max((s["finished_at"] for s in done if start <= s["finished_at"] <= until), default=start)
        wall += max((end - start).total_seconds(), 0.0)
    model = sum(s["model_seconds"] or 0.0 for s in done)
    return Spent(wall, model, len(snapshot.sessions), max((s["peak_memory_mb"] or 0.0 for s in done), default=0.0))
