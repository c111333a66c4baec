"""The ledger of looks at gate items: every run whose gate looks at the same items spends alpha on them. This counts.

It is a DuckDB file of its own, `rlaif/looks.duckdb` in the user's data folder ($RLAIF_DATA, else $XDG_DATA_HOME, else
~/.local/share). A row is one look by one run. A look is known by what it compared, so one that is repeated, by a run
that was killed or by the same run in another folder, counts once. Rows are written before the look decides: a run that
is killed in between finds its row and goes on with it.

With `gate.ledger = "spend"` a run may use half of the alpha that the other runs on its items have left (:func:`enter`).
Of what a run with "spend" may use, all counts as spent from its first look on; of another run, what its looks had. A
second look in a round, by a copy of the run's folder that went another way, counts on top of it. What a look hands on
is cut to the share of the run that goes on from it (`looks.entered`): runs may have it in common. The sum over all runs
is then at most the alpha of one run (1/2 + 1/4 + ... of it), and so is, by the union bound, the probability of a false
promotion in any of them, however many there are.

Imports neither numpy nor torch: the list of runs reads it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from rlaif.run import now
from rlaif.types import Question, RlaifError, content_id
from stores.connect import one_line, reading, writing

T = TypeVar("T")
PATIENCE = 10.0  # seconds; a look holds the file for hundredths of a second
SCHEMA = """CREATE TABLE IF NOT EXISTS looks (
    items VARCHAR,              -- hash of the gate items
    look_id VARCHAR,            -- hash of what was compared on them
    run VARCHAR,
    folder VARCHAR NOT NULL,    -- where the run lay then
    round INTEGER NOT NULL,
    alpha DOUBLE NOT NULL,      -- the look's own, without what a promotion handed on
    share DOUBLE NOT NULL,      -- of the alpha that the run would have on fresh items
    reserved DOUBLE,            -- the alpha of all looks the run may come to; NULL where it does not share, or repeats
    seen_at TIMESTAMP NOT NULL,
    PRIMARY KEY (items, look_id, run)
)"""
# Runs in `{looks}` whose looks are not all among those of another run: (items, run, alpha of its looks). A look that
# promotes hands its alpha on in each run that had it, so runs that part after it have it once each, copies once in all.
APART = """runs_of AS (SELECT items, run, sum(alpha) AS alpha, list(look_id) AS looks FROM {looks} GROUP BY items, run),
apart AS (
    SELECT items, run, alpha FROM runs_of p WHERE NOT EXISTS (
        SELECT 1 FROM runs_of q WHERE q.items = p.items AND q.run <> p.run AND list_has_all(q.looks, p.looks)
            AND (len(q.looks) > len(p.looks) OR q.run < p.run)
    )
)"""
# What other runs have used up: all of what they reserved, and the looks of those that reserved nothing.
SPENT = f"""WITH others AS (SELECT * FROM looks WHERE items = ? AND run <> ?),
reserved AS (SELECT run, max(reserved) AS alpha FROM others WHERE reserved IS NOT NULL GROUP BY run),
free AS (SELECT * FROM others WHERE look_id NOT IN (SELECT look_id FROM others WHERE reserved IS NOT NULL)),
{APART.format(looks="free")}
SELECT (SELECT coalesce(sum(alpha), 0) FROM reserved) + (SELECT coalesce(sum(alpha), 0) FROM apart)"""
COUNTS = f"""WITH mine AS (SELECT DISTINCT run, items FROM looks),
looks_once AS (SELECT items, look_id, max(alpha) AS alpha FROM looks GROUP BY items, look_id),
{APART.format(looks="looks")}
SELECT m.run, (SELECT count(*) FROM looks l WHERE l.run = m.run AND l.items = m.items),
       (SELECT count(*) FROM looks_once o WHERE o.items = m.items),
       (SELECT count(DISTINCT run) FROM looks l WHERE l.items = m.items),
       (SELECT sum(alpha) FROM looks l WHERE l.run = m.run AND l.items = m.items),
       (SELECT sum(alpha) FROM looks_once o WHERE o.items = m.items),
       (SELECT sum(alpha) FROM apart a WHERE a.items = m.items)
FROM mine m"""

OTHERS = f"""WITH others AS (
    SELECT look_id, run, alpha FROM looks l WHERE items = ? AND run <> ?
        AND NOT EXISTS (SELECT 1 FROM looks m WHERE m.items = l.items AND m.look_id = l.look_id AND m.run = ?)
), whole AS (SELECT * FROM looks WHERE items = ? AND run IN (SELECT run FROM others)),
{APART.format(looks="whole")}
SELECT count(DISTINCT look_id), count(DISTINCT run),
       (SELECT sum(alpha) FROM (SELECT max(alpha) AS alpha FROM others GROUP BY look_id)),
       (SELECT sum(alpha) FROM apart) FROM others"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Looks at a run's gate items: `own` by this run, `all` by `runs` runs together, with the alpha of each. A look
    that several runs repeated is one of `all`. `at_most` bounds the probability of a false promotion in any of these
    runs (see APART): what a look hands on counts for each run that goes on from it.
    """

    own: int
    all: int
    runs: int
    alpha_own: float
    alpha_all: float
    at_most: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One look about to be taken. `alpha` is its own at a share of 1; `total` that of all looks of such a run. `share`
    is the one on record for the run's look before, None at its first one.
    """

    items: str
    look_id: str
    run: str
    folder: str
    round: int
    alpha: float
    total: float
    share: float | None = None


def path() -> Path:
    """Where the ledger lies; it need not be there. RlaifError where nothing says it: a path that is not whole would
    mean another ledger in each working folder.
    """
    own = os.path.expanduser(os.environ.get("RLAIF_DATA", ""))
    if own and not os.path.isabs(own):
        raise RlaifError(f"the ledger of looks: RLAIF_DATA={own} is no whole path: give one from the root folder on")
    shared = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(shared):  # then it counts as unset (XDG Base Directory Specification)
        shared = os.path.expanduser("~/.local/share")
    if not own and not os.path.isabs(shared):
        raise RlaifError("the ledger of looks: this user has no home folder: name a data folder with RLAIF_DATA")
    return Path(own or f"{shared}/rlaif") / "looks.duckdb"


def run_key(row: dict[str, Any]) -> str:
    """Which run it is, wherever its folder lies: from the columns run_id and created_at of its row in `runs`."""
    created: datetime = row["created_at"]
    return content_id(row["run_id"], created.isoformat())


def items_key(questions: Iterable[Question]) -> str:
    """The same for the same gate items with the same references and labels, in whatever order."""
    return content_id(sorted((q.question_id, q.reference, q.label) for q in questions))


def enter(entry: Entry, *, spends: bool) -> float:
    """Write the look down, once, and return the share of its alpha that it may use: 1 where the run does not spend.

    A look that was compared before has the share that it had then. Else a run that spends has the share of its look
    before, and at its first one that no other run had, half of what the others have left of `total`. Raises RlaifError
    where nothing is left, and where the ledger cannot be written or is held for 10 s.
    """

    def work(con: duckdb.DuckDBPyConnection) -> float:
        con.execute("BEGIN")
        con.execute(SCHEMA)
        known = con.execute(
            "SELECT share, alpha FROM looks WHERE items = ? AND look_id = ? ORDER BY run = ? DESC, alpha DESC",
            [entry.items, entry.look_id, entry.run],
        ).fetchall()
        reserved = None
        if not spends:
            share = 1.0
        elif known:  # with no more alpha than was counted for it, whatever the settings are now
            share, counted = map(float, known[0])
            share = share if share * entry.alpha <= counted + 1e-12 else counted / entry.alpha
        else:
            share = _share(con, entry)
            reserved = share * entry.total + _again(con, entry, share)
        row = [entry.items, entry.look_id, entry.run, entry.folder, entry.round, share * entry.alpha, share, reserved]
        con.execute("INSERT INTO looks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", [*row, now()])
        con.execute("COMMIT")
        return share

    return _using(lambda file: _written(file, work), make=True)


def left(items: str, run: str, total: float) -> float:
    """The alpha of `total` that other runs than `run` have not used on these items, never below 0."""
    spent = _asked(SPENT, [items, run])
    return max(total - (float(spent[0][0]) if spent else 0.0), 0.0)


def counts() -> dict[str, Counts]:
    """Run (see `run_key`) -> what the ledger knows of its gate items. Empty where there is no ledger."""
    return {row[0]: Counts(*row[1:]) for row in _asked(COUNTS, [])}


def others(items: str, run: str) -> Counts | None:
    """The looks at these items by other runs that `run` has not had itself, each once; None without any."""
    found = _asked(OTHERS, [items, run, run, items])
    if not found or not found[0][0]:
        return None
    looks, runs, alpha, at_most = found[0]
    return Counts(0, looks, runs, 0.0, alpha, at_most)


def words(found: Counts) -> str:
    """The counts of a run in a sentence."""
    looks = f"{found.own} {'look' if found.own == 1 else 'looks'} at its gate items with alpha {found.alpha_own:.4f}"
    if found.runs == 1:
        return f"the ledger: this run had {looks}, and no other run had any"
    return (
        f"the ledger: this run had {looks}; {found.runs} runs together had {found.all}, with alpha "
        f"{found.alpha_all:.4f}, and a false promotion in any of them has a probability of at most "
        f"{min(found.at_most, 1.0):.4f}"
    )


def _share(con: duckdb.DuckDBPyConnection, entry: Entry) -> float:
    mine = con.execute(
        "SELECT share, reserved FROM looks WHERE items = ? AND run = ? ORDER BY reserved NULLS LAST LIMIT 1",
        [entry.items, entry.run],
    ).fetchall()
    if mine and mine[0][1] is not None:
        return float(mine[0][0])
    if not mine and entry.share is not None:  # this ledger does not know the run, which knows what it had
        return entry.share
    (spent,) = con.execute(SPENT, [entry.items, entry.run]).fetchall()[0]
    rest = entry.total - spent
    if rest <= 1e-9:
        raise RlaifError(nothing_left(entry.total))
    return float(rest / 2 / entry.total)


def _again(con: duckdb.DuckDBPyConnection, entry: Entry, share: float) -> float:
    """The alpha of looks that the run had in a round where it had one before: copies of its folder that went apart, or
    other labels. What the run reserved is for one look a round. Raises RlaifError where the others leave less.
    """
    before = con.execute(
        "SELECT round, alpha FROM looks WHERE items = ? AND run = ? AND reserved IS NOT NULL", [entry.items, entry.run]
    ).fetchall()
    largest: dict[int, float] = {}
    extra = 0.0
    for round, alpha in [*before, (entry.round, share * entry.alpha)]:
        extra += min(largest.get(round, 0.0), alpha)
        largest[round] = max(largest.get(round, 0.0), alpha)
    if entry.round in {round for round, _ in before}:
        (spent,) = con.execute(SPENT, [entry.items, entry.run]).fetchall()[0]
        if spent + share * entry.total + extra > entry.total + 1e-9:
            raise RlaifError(nothing_left(entry.total))
    return extra


def nothing_left(total: float) -> str:
    return (
        f"other runs, or copies of this one, have spent the alpha of {total:.4g} on these gate items ({path()}): no "
        "look is left for gate.ledger=spend; use other gate items, or start a run with --set gate.ledger=warn"
    )


def _asked(sql: str, params: list[Any]) -> list[Any]:
    """Rows of the ledger; none where there is no ledger yet."""

    def work(file: Path) -> list[Any]:
        if not file.exists():
            return []
        with reading(file) as con:
            made = con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'looks'").fetchall()
            return con.execute(sql, params).fetchall() if made else []  # none: whoever made the file was killed then

    return _using(work)


def _written(file: Path, work: Callable[[duckdb.DuckDBPyConnection], float]) -> float:
    with writing(file, None, PATIENCE) as con:
        return work(con)


def _using(work: Callable[[Path], T], *, make: bool = False) -> T:
    """What `work` makes of the ledger's file; RlaifError with one line for whatever is wrong with it."""
    file = path()
    try:
        if make:
            file.parent.mkdir(parents=True, exist_ok=True)
        return work(file)
    except duckdb.Error as error:
        what = f"the ledger of looks {file}: {one_line(error)}"
        raise RlaifError(f"{what}; a damaged file may be moved away: a new one knows of no look before") from error
    except OSError as error:
        raise RlaifError(f"the ledger of looks {error.filename or file}: {error.strerror}") from error
