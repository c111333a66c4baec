"""What a person does to runs by hand: promote, exclude a pair, list, prune. Every change is a row in `decisions`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlaif.gate import ledger
from rlaif.report.snapshot import champion, state, take
from rlaif.run import Run
from rlaif.types import Decision, RlaifError, UsageError
from stores.lock import run_lock
from stores.store import DATABASE, Store

RUN_COLUMNS = ["run", "profile", "seed", "champion", "last used (UTC)", "size", "gate looks", "state"]


def promote(run: Run, policy_name: str, why: str) -> str:
    """Make a policy champion by hand, the base included. Returns a line that says what was done, or that it is champion
    already.

    Where the controller has stopped the loop this lets it go on, also with the champion that there is.

    UsageError without a reason, for an unknown policy and for one whose weights are gone.
    """
    from rlaif.loop.monitor_round import halted  # brings numpy and scipy, which the list of runs does without

    why = _reason(why)
    if not policy_name.strip():
        raise UsageError("name the policy to promote: base, or an id or its beginning")
    policy, previous = run.policy(policy_name), run.champion()
    policy_id = str(policy["policy_id"])
    if policy_id == previous and not halted(run):
        return f"{policy_id} is the champion already: nothing changed"
    if policy["kind"] != "base":
        if not policy["path"]:
            raise UsageError(f"policy {policy_id} was pruned: its weights are gone, so it cannot be champion")
        folder = run.policy_folder(policy)
        if not folder.is_dir():
            raise UsageError(f"policy {policy_id}: no folder {folder}; restore it first")
    run.decide(Decision(_latest_round(run), "manual", "PROMOTE", why, {"policy_id": policy_id, "previous": previous}))
    return f"{policy_id} ({policy['kind']}, round {policy['round']}) is champion now; before: {previous}"


def exclude(run: Run, pair_id: str, why: str) -> str:
    """Drop a kept preference pair by hand, by its id or the unique beginning of it. Returns a line that says what was
    done.

    Policies that were trained on it stay as they are; the decision's evidence names them. UsageError without a reason,
    and for a pair that is unknown, ambiguous or dropped already.
    """
    why = _reason(why)
    if not pair_id.strip():
        raise UsageError("name the pair to exclude: its id or the beginning of it")
    pairs = run.store.query(
        "SELECT * FROM preferences WHERE pair_id = ? OR starts_with(pair_id, ?) ORDER BY pair_id <> ?, pair_id",
        [pair_id] * 3,
    )
    if not pairs:
        raise UsageError(f"{pair_id!r} is no pair of this run; SELECT pair_id FROM preference_pairs lists them")
    if len(pairs) > 1 and pairs[0]["pair_id"] != pair_id:
        raise UsageError(
            f"{pair_id!r} is ambiguous: {', '.join(p['pair_id'] for p in pairs[:4])}{' ...' if len(pairs) > 4 else ''}"
        )
    pair = pairs[0]
    if pair["status"] == "dropped":
        raise UsageError(f"pair {pair['pair_id']} is dropped already: {pair['reason']}")
    users = run.store.query(
        "SELECT DISTINCT policy_id FROM policy_items WHERE item_id = ? ORDER BY policy_id", [pair["pair_id"]]
    )
    trained = [row["policy_id"] for row in users]
    decision = Decision(_latest_round(run), "manual", "EXCLUDE", why, {"pair_id": pair["pair_id"], "trained": trained})
    changed = pair | {"status": "dropped", "reason": f"excluded by hand: {why}"}
    run.store.write({"preferences": [changed], "decisions": [decision]}, replace=["preferences"])
    return f"pair {pair['pair_id']} is dropped: {why}" + (
        f"; already trained on it: {', '.join(trained)}" if trained else ""
    )


def list_runs(root: Path) -> tuple[list[str], list[list[str]]]:
    """All runs in `root` and below: (columns, rows of text). One that cannot be read gives a row that says why. Changes
    no database. "gate looks": the run's own, and those at the same gate items by all runs together.
    """
    try:
        looks = ledger.counts()
    except RlaifError:  # gate explain says what is wrong with the ledger; the list does without
        looks = {}
    return RUN_COLUMNS, [_run_row(folder, looks) for folder in _run_folders(root)]


def _run_folders(root: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(root):
        if DATABASE in files:
            yield Path(path)
            folders.clear()  # what lies inside a run is its own
        folders.sort()


def _run_row(folder: Path, looks: Mapping[str, ledger.Counts]) -> list[str]:
    size = f"{folder_bytes(folder) / 2**20:.1f} MB"
    try:
        found = take(
            Store(folder / DATABASE), brief=True
        )  # not Store.open: that would bring an older database up to this version
        best = champion(found)
        times = [found.run["created_at"], *(s["finished_at"] for s in found.stages)]
        times += [s["ended_at"] or s["started_at"] for s in found.sessions]
        used = max(time for time in times if time)
    except (RlaifError, OSError) as error:
        changed = datetime.fromtimestamp((folder / DATABASE).stat().st_mtime, UTC)
        return [str(folder), "", "", "", f"{changed:%Y-%m-%d %H:%M}", size, "", f"cannot be read: {error}"]
    row = [str(folder), str(found.run["profile"]), str(found.run["seed"]), best["policy_id"][:8] if best else ""]
    known = looks.get(ledger.run_key(found.run))
    shown = f"{known.own} of {known.all}" if known else ""
    return [*row, f"{used:%Y-%m-%d %H:%M}", size, shown, state(found).split(": continue")[0]]


def folder_bytes(folder: Path) -> int:
    """Size of all files in and below `folder`; links are not followed, files that vanish meanwhile count as nothing."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue
    return total


def prune(run: Run) -> list[tuple[str, int]]:
    """Delete the weights of policies that a gate did not promote, merged copies too; returns (policy id, bytes) of
    each.

    The base stays, and whatever is or ever was champion, by the gate or by hand, and the challenger of a round under
    way, and what a round starts from, and the SFT policy under one that stays, and until the sealed test was opened any
    SFT policy, which is part of it. The database is written first: killed in between, folders are left that the next
    prune deletes. RlaifError while a loop works on the run, and where a policy's row or a link leads out of its own
    folder: nothing is deleted then.
    """
    with run_lock(run.folder):
        doomed = []
        for row in _never_champion(run):
            folders = [run.policy_folder(row), run.served_folder(row)]
            if row["path"] or any(folder.is_dir() for folder in folders):
                doomed.append((row, folders, sum(map(folder_bytes, folders))))
        if not doomed:
            return []
        sizes = [(str(row["policy_id"]), size) for row, _, size in doomed]
        reason = (
            f"weights of {len(sizes)} policies deleted that were never champion, "
            f"{sum(size for _, size in sizes) / 2**20:.1f} MB"
        )
        decision = Decision(
            _latest_round(run), "manual", "PRUNE", reason, {"policies": [policy_id for policy_id, _ in sizes]}
        )
        run.store.write(
            {"policies": [row | {"path": ""} for row, _, _ in doomed], "decisions": [decision]}, replace=["policies"]
        )
        for folder in [folder for _, folders, _ in doomed for folder in folders]:
            try:
                if folder.is_dir():
                    shutil.rmtree(folder)
            except OSError as error:
                raise RlaifError(f"{error.filename or folder}: {error.strerror}; mend it and prune again") from error
    return sizes


def _never_champion(run: Run) -> list[dict[str, Any]]:
    held = run.store.query(
        "SELECT champion_in AS id FROM rounds UNION SELECT champion_out FROM rounds UNION SELECT champion FROM gates"
    )
    champions = {str(row["id"]) for row in held}
    last = _latest_round(run)
    met = run.store.query("SELECT champion_in AS id FROM rounds WHERE round = ? AND decision IS NULL", [last])
    champions |= {run.starts_from(last, str(row["id"])) for row in met}  # a person may have promoted another since
    champions.add(run.starts_from(last + 1, run.champion()))
    promoted = run.store.query("SELECT evidence FROM decisions WHERE action = 'PROMOTE'")
    champions |= {str(json.loads(row["evidence"])["policy_id"]) for row in promoted}
    rows = run.store.query(
        "SELECT p.* FROM policies p WHERE p.kind <> 'base' AND EXISTS "
        "(SELECT 1 FROM rounds r WHERE r.challenger = p.policy_id AND r.decision IN ('REJECT', 'INCONCLUSIVE')) "
        "AND (p.kind <> 'sft' OR EXISTS (SELECT 1 FROM sealed_tests)) "
        # what DPO started from in a round that is over: the gate never saw it
        "OR (p.kind = 'raft' AND EXISTS (SELECT 1 FROM rounds r WHERE r.round = p.round AND r.decision IS NOT NULL)) "
        "ORDER BY p.round, p.policy_id"
    )
    # An SFT policy that was never champion may lie under one that is kept, as its whole model and for `drift`.
    under = run.store.query(
        "WITH RECURSIVE line(policy_id) AS (SELECT unnest(?) UNION SELECT parent_id FROM policies JOIN line USING "
        "(policy_id)) SELECT policy_id FROM policies JOIN line USING (policy_id) WHERE kind = 'sft'",
        [sorted(champions - {"None"})],
    )
    champions |= {str(row["policy_id"]) for row in under}
    return [row for row in rows if row["policy_id"] not in champions]


def _latest_round(run: Run) -> int:
    return int(run.store.query("SELECT coalesce(max(round), 0) AS round FROM rounds")[0]["round"])


def _reason(why: str) -> str:
    """`why` on one line. UsageError when it says nothing."""
    text = " ".join(why.split())
    if not text:
        raise UsageError("say why: --why TEXT is kept in decisions")
    return text
