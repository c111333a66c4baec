"""A run on disk: its folder, its database, its configuration and the sessions that worked on it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from rlaif.checkpoints import clear_done
from rlaif.config import OUTSIDE_HASH, Config, differing_keys, flat
from rlaif.config_file import to_toml, validate
from rlaif.logs import LOG
from rlaif.trackers import Trackers
from rlaif.types import Decision, RlaifError, UsageError, content_id
from stores.store import DATABASE, Store

T = TypeVar("T")
PACKAGES = ("rlaif", "torch", "transformers", "trl", "peft", "gptqmodel", "bitsandbytes", "duckdb", "numpy")
ID = re.compile("[0-9a-f]{16}")  # see rlaif.types.content_id
FREE_BYTES_NEEDED = 200 * 2**20  # a run that cannot write its next adapter should stop before it trains one


def now() -> datetime:
    """The present in UTC, naive, as the database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass
class Stage:
    """One stage under way: what it did is collected here and written with its row, last."""

    round: int
    name: str
    model_seconds: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Sequence[Any]] = field(default_factory=dict)
    after: Callable[[], None] = lambda: None  # what is to be done when the stage is done

    @contextmanager
    def model_time(self) -> Iterator[None]:
        """Counts what happens inside as model work (training, generating, scoring)."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.model_seconds += time.monotonic() - started

    def timed(self, made: Iterator[T]) -> Iterator[T]:
        """What is made, the time of making it counted as model work."""
        while True:
            with self.model_time():
                item = next(made, None)
            if item is None:
                return
            yield item


@dataclass
class Run:
    """An open run. `config` is what it was made with, plus this session's values of the keys outside the hash."""

    folder: Path
    store: Store
    config: Config
    trackers: Trackers = field(default_factory=Trackers)

    @property
    def policies(self) -> Path:
        return self.folder / "policies"

    @property
    def served(self) -> Path:
        """Where `serve` keeps merged copies of policies, by their ids."""
        return self.folder / "served"

    def policy_folder(self, policy: Mapping[str, Any]) -> Path:
        """`policies/<policy_id>`, where the weights of a policy lie; it need not be there.

        Every path that is made from a row of `policies` comes from here or from `served_folder`. RlaifError when the id
        is not one that rlaif makes, when the row's path leads anywhere else, and for a link.
        """
        own = self._own_folder("policies", str(policy["policy_id"]))
        if policy["path"] not in ("", f"policies/{own.name}"):
            raise RlaifError(
                f"{self.folder}: the row of policy {own.name} leads to {policy['path']!r} instead of {own}: "
                "the run was altered, and nothing there is read or deleted"
            )
        return own

    def served_folder(self, policy: Mapping[str, Any]) -> Path:
        """`served/<policy_id>`, where `serve` keeps its merged copy. RlaifError as for :meth:`policy_folder`."""
        return self._own_folder("served", str(policy["policy_id"]))

    def _own_folder(self, kind: str, policy_id: str) -> Path:
        if not ID.fullmatch(policy_id):
            raise RlaifError(
                f"{self.folder}: the policy id {policy_id!r} is not 16 hex digits: the run was altered, and no path is "
                "made of it"
            )
        found = self.folder / kind / policy_id
        inside = found.rglob("*") if found.is_dir() else ()
        if link := next((path for path in (found.parent, found, *inside) if path.is_symlink()), None):
            raise RlaifError(f"{link} is a link, and rlaif follows none inside a run; put the folder itself there")
        return found

    def done(self, round: int, stage: str) -> dict[str, Any] | None:
        """The detail of a finished stage; None if it has not finished."""
        rows = self.store.query(
            "SELECT detail FROM stages WHERE round = ? AND stage = ? AND status = 'done'", [round, stage]
        )
        return json.loads(rows[0]["detail"]) if rows else None

    @contextmanager
    def stage(self, round: int, name: str) -> Iterator[Stage]:
        """Run a stage: its row says "running" at once and "done" together with its last rows, in one transaction.

        When the block raises, the row stays "running": the next session does the stage again.
        """
        stage, started, clock = Stage(round, name), now(), time.monotonic()
        row = {"round": round, "stage": name, "status": "running", "started_at": started}
        self.store.write({"stages": [row]}, replace=["stages"])
        LOG.info("round %d, stage %s: begun", round, name)
        yield stage
        row |= {
            "status": "done",
            "finished_at": now(),
            "seconds": time.monotonic() - clock,
            "model_seconds": stage.model_seconds,
            "peak_memory_mb": peak_memory_mb(),
            "detail": stage.detail,
        }
        replace = ["stages", *(t for t in ("rounds",) if t in stage.rows)]
        self.store.write({**stage.rows, "stages": [row]}, replace=replace)
        stage.after()
        LOG.info("round %d, stage %s: done in %.1f s, %.0f MB at most", round, name, row["seconds"], peak_memory_mb())
        self.trackers.stage(round, stage.rows, stage.detail)

    def trained_steps(self) -> int:
        """Training steps behind all policies of the run together."""
        known = "policy_id IN (SELECT policy_id FROM policies)"
        rows = self.store.query(f"SELECT max(step) AS n FROM train_log WHERE {known} GROUP BY policy_id")
        return sum(int(row["n"]) for row in rows)

    def champion(self) -> str:
        """The policy that was promoted last, by the gate or by hand; the base before any was."""
        rows = self.store.query("SELECT evidence FROM decisions WHERE action = 'PROMOTE' ORDER BY seq DESC LIMIT 1")
        if rows:
            return str(json.loads(rows[0]["evidence"])["policy_id"])
        base = self.store.query("SELECT policy_id FROM policies WHERE kind = 'base'")
        if not base:
            raise RlaifError(
                f"{self.folder}: this run has not prepared its base yet; continue it with the command loop"
            )
        return str(base[0]["policy_id"])

    def starts_from(self, round: int, champion: str) -> str:
        """The policy that a preference round starts from: it answers the questions and is trained on them.

        The champion. With `gate.after_inconclusive = "challenger"` it is the challenger of the round before, where the
        gate could not tell it from the same champion by valid results, no blocking monitor was red and its weights were
        not pruned. After a round that gave no challenger, as without pairs, it is what that round started from.
        A round that has begun stays with the policy that answers in it.
        """
        begun = self.store.query("SELECT DISTINCT policy_id FROM candidates WHERE round = ?", [round])
        if begun:
            return str(begun[0]["policy_id"])
        if self.config.gate.after_inconclusive == "champion":
            return champion
        undecided = self.store.query(
            "SELECT challenger FROM rounds JOIN policies ON policy_id = challenger WHERE rounds.round = ? "
            "AND decision = 'INCONCLUSIVE' AND champion_in = ? AND path <> '' AND NOT EXISTS (SELECT 1 FROM monitors m "
            "WHERE m.round = rounds.round AND m.red AND m.name IN (SELECT unnest(?))) AND NOT EXISTS (SELECT 1 FROM "
            "gates g WHERE g.round = rounds.round AND g.condition = 'valid' AND NOT g.passed)",
            [round - 1, champion, list(self.config.monitors.blocking)],
        )
        if undecided:
            return str(undecided[0]["challenger"])
        without = self.store.query(
            "SELECT 1 FROM rounds WHERE round = ? AND challenger IS NULL AND decision = 'INCONCLUSIVE' "
            "AND champion_in = ?",
            [round - 1, champion],
        )
        return self.starts_from(round - 1, champion) if without and round > 1 else champion

    def policy(self, name: str) -> dict[str, Any]:
        """The row of a policy by id (or its unique beginning), or of "base", "sft" or "champion". UsageError if there
        is none.
        """
        if not name:
            raise UsageError("name a policy: base, sft, champion, or an id or its beginning")
        if name == "champion":
            name = self.champion()
        where = "kind = ?" if name in ("base", "sft") else "starts_with(policy_id, ?)"
        rows = self.store.query(f"SELECT * FROM policies WHERE {where}", [name])
        if len(rows) == 1:
            return rows[0]
        known = ", ".join(
            r["policy_id"] for r in self.store.query("SELECT policy_id FROM policies ORDER BY created_at")
        )
        problem = "is ambiguous" if rows else "is no policy of this run"
        raise UsageError(f"{name!r} {problem}; there are: base, sft, champion, {known or '(none yet)'}")

    def decide(self, decision: Decision) -> None:
        self.store.write({"decisions": [decision]})


def open_run(folder: Path, on_wait: Any = None, *, read_only: bool = False) -> Run:
    """An existing run. UsageError when `folder` holds none; with `read_only` also when its schema is older."""
    store = Store.open(folder, on_wait, read_only=read_only)
    tree = json.loads(store.query("SELECT config FROM runs")[0]["config"])
    return Run(folder, store, validate(unflat(tree), where=f"{folder}/{DATABASE}"))


def open_or_create(folder: Path, config: Config, on_wait: Any = None) -> Run:
    """The run in `folder`, made with `config` if it is new.

    UsageError when the folder holds a run of another configuration (names the keys that differ) or something else than
    a run; RlaifError when it cannot be written. Keys outside the hash may differ: this session's values count.
    """
    existing = find(folder, config, on_wait)
    if existing is not None:
        return existing
    try:
        (folder / "policies").mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(to_toml(config), "utf-8")
    except OSError as error:
        raise RlaifError(f"{error.filename or folder}: {error.strerror}; choose another --run or make room") from error
    row = {
        "run_id": content_id(config.config_hash),
        "profile": config.profile,
        "config": flat(config),
        "config_hash": config.config_hash,
        "seed": config.seed,
    }
    store = Store.create(folder, row)
    store.on_wait = on_wait
    return Run(folder, store, config)


def find(folder: Path, config: Config, on_wait: Any = None) -> Run | None:
    """The run in `folder`; None when there is none yet and one can be made there. Changes nothing.

    UsageError as for :func:`open_or_create`.
    """
    if (folder / DATABASE).exists():
        run = open_run(folder, on_wait)
        mine, theirs = flat(run.config), flat(config)
        keys = differing_keys(mine, theirs)
        if keys:
            shown = "; ".join(f"{k}: {mine.get(k)!r} there, {theirs.get(k)!r} now" for k in keys[:4])
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            raise UsageError(
                f"{folder} was made with another configuration ({shown}{more}); start a new run with --run DIR"
            )
        return Run(folder, run.store, config)
    ours = (
        "loop.lock",
        "config.toml",
        "policies",
        f"{DATABASE}.new",
        f"{DATABASE}.new.wal",
    )  # what a killed start leaves
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in ours) if folder.is_dir() else []
    if folder.exists() and (not folder.is_dir() or foreign):
        found = ", ".join(foreign[:3]) or "it is a file"
        raise UsageError(f"{folder} exists and is no run ({found}); choose another --run")
    return None


def unflat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{"dpo.beta": 0.1} to {"dpo": {"beta": 0.1}}."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        *sections, leaf = key.split(".")
        node = out
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return out


@contextmanager
def session(run: Run, started: datetime) -> Iterator[str]:
    """Records this process's work on the run in `sessions`: since when, with which versions, and how it ended."""
    session_id = uuid.uuid4().hex[:16]
    changed = {k: v for k, v in flat(run.config).items() if k in OUTSIDE_HASH}
    row = {
        "session_id": session_id,
        "started_at": started,
        "pid": os.getpid(),
        "argv": sys.argv[1:],
        "versions": {"python": sys.version.split()[0]} | {p: v for p in PACKAGES if (v := installed(p))},
        "commit": commit(),
        "overrides": changed,
    }
    run.store.write({"sessions": [row]})
    clear_done(run.folder, [policy["policy_id"] for policy in run.store.query("SELECT policy_id FROM policies")])
    LOG.info("session %s on %s, commit %s, %s", session_id, run.folder, row["commit"] or "unknown", row["versions"])
    code = 1
    try:
        yield session_id
        code = 0
    except RlaifError as error:
        code = error.exit_code
        raise
    except KeyboardInterrupt:
        code = 130
        raise
    finally:
        LOG.info("session %s: exit code %d", session_id, code)
        ended = [("UPDATE sessions SET ended_at = ?, exit_code = ? WHERE session_id = ?", [now(), code, session_id])]
        try:
            run.store.execute(ended)
        except RlaifError:
            if code == 0:  # on the way out of an error, that error is the one to report
                raise


def installed(package: str) -> str:
    """The installed version of `package`, or "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def commit() -> str:
    """The commit of the checkout this code runs from, or "" where it is no checkout."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MB; of the GPU where one was used."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_disk(folder: Path) -> None:
    """RlaifError when the file system of `folder`, which need not be there yet, is too full to go on."""
    folder = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_NEEDED:
        raise RlaifError(
            f"{folder}: only {free >> 20} MB free, {FREE_BYTES_NEEDED >> 20} MB needed; free some space "
            "and run the same command again"
        )
