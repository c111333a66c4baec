"""Preferences out of a run and into another: the same texts, their lineage, nothing twice, nothing that the gate
asks.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.run import Run, open_run
from rlaif.share.export_preferences import COLUMNS, export_preferences
from rlaif.share.import_preferences import Imported, import_preferences
from rlaif.train.material import dpo_pairs
from rlaif.types import DataError, RlaifError, UsageError
from stores.lock import run_lock


@pytest.fixture
def other(paired_folder: Path, tmp_path: Path) -> Run:
    """Another run: the same questions and prompt, but no pairs."""
    run = open_run(Path(shutil.copytree(paired_folder, tmp_path / "other")))
    gone = [(f"DELETE FROM {table}", []) for table in ("preferences", "candidates", "decisions")]
    run.store.execute([*gone, ("UPDATE runs SET run_id = 'other'", [])])
    return run


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_pairs_go_from_one_run_to_another_with_their_lineage(
    paired_run: Run, other: Run, tmp_path: Path, kind: str
) -> None:
    told = export_preferences(paired_run, kind, tmp_path / "prefs", "")
    assert told.startswith("4 pairs in ")
    assert sorted(p.name for p in (tmp_path / "prefs").iterdir()) == ["README.md", f"train.{kind}"]
    assert import_preferences(other, tmp_path / "prefs") == Imported(4, {}, 0)
    texts = (
        "SELECT question, chosen, rejected, chosen_score, rejected_score, margin, judge_model FROM "
        "preference_pairs ORDER BY question"
    )
    assert other.store.query(texts) == paired_run.store.query(texts)
    (row,) = other.store.query("SELECT DISTINCT kind, round FROM preferences")
    assert row == {"kind": "imported", "round": 0}
    origin = json.loads(other.store.query("SELECT origin FROM preferences ORDER BY origin ->> 'pair_id'")[0]["origin"])
    run_id = paired_run.store.query("SELECT run_id FROM runs")[0]["run_id"]
    assert (origin["pair_id"], origin["round"], origin["policy_id"], origin["run_id"]) == (
        "p0",
        1,
        "5f70000000000000",
        run_id,
    )
    assert len(origin["file_sha256"]) == 64 and origin["file"] == f"train.{kind}" and origin["row"] == "1"
    (decision,) = other.store.query("SELECT kind, action, reason FROM decisions")
    assert decision == {"kind": "manual", "action": "IMPORT", "reason": f"4 pairs from train.{kind}"}
    # sampled by nobody here: no round's numbers change
    assert other.store.query("SELECT count(*) AS n FROM candidates")[0]["n"] == 0


def test_what_was_imported_goes_out_with_the_lineage_it_came_with(paired_run: Run, other: Run, tmp_path: Path) -> None:
    export_preferences(paired_run, "jsonl", tmp_path / "a.jsonl", "")
    import_preferences(other, tmp_path / "a.jsonl")
    export_preferences(other, "jsonl", tmp_path / "b.jsonl", "")
    first, second = ([json.loads(line) for line in (tmp_path / f"{n}.jsonl").read_text().splitlines()] for n in "ab")
    assert sorted(first, key=str) == sorted(second, key=str)


def test_nothing_is_imported_twice(paired_run: Run, other: Run, tmp_path: Path) -> None:
    export_preferences(paired_run, "parquet", tmp_path / "prefs", "")
    assert import_preferences(paired_run, tmp_path / "prefs") == Imported(0, {}, 4), "its own pairs"
    import_preferences(other, tmp_path / "prefs")
    assert import_preferences(other, tmp_path / "prefs") == Imported(0, {}, 4)
    assert other.store.query("SELECT count(*) AS n FROM decisions")[0]["n"] == 1
    other.store.execute([("UPDATE preferences SET status = 'dropped', reason = 'by hand'", [])])
    assert import_preferences(other, tmp_path / "prefs") == Imported(0, {}, 4), "a pair that was excluded stays out"


def test_the_questions_of_the_gate_stay_out(other: Run, tmp_path: Path) -> None:
    gate = other.store.query("SELECT question_id, question FROM questions WHERE split = 'gate' AND label = '' LIMIT 1")[
        0
    ]
    rows = [
        {"prompt": gate["question"].upper() + " ", "chosen": "rest", "rejected": "work"},
        {"prompt": "in other words", "question_id": gate["question_id"], "chosen": "rest", "rejected": "work"},
        {"prompt": "Is it?", "chosen": "yes", "rejected": " yes"},
    ]
    assert import_preferences(other, write(tmp_path / "f.jsonl", *rows)) == Imported(0, {"held_out": 2, "same": 1}, 0)
    assert other.store.query("SELECT count(*) AS n FROM preference_pairs")[0]["n"] == 0


SPELLED = [
    "{q} ?",
    "{bare} ?",
    "{bare}",
    "{split}",
    "Question: {q}",
    "Tea is warm. It is brown.\n\n{q}\nAnswer:",
    "{q} Answer in one sentence.",
    "Please tell me: {lower}",
]


def shapes(text: str, answer: str) -> list[dict[str, Any]]:
    """A row that asks `text`, in each place where a row can ask it."""
    user, good, bad = (
        {"role": r, "content": c} for r, c in (("user", text), ("assistant", answer), ("assistant", "No."))
    )
    more = [{"role": "assistant", "content": "Who asks?"}, {"role": "user", "content": "I do."}]
    answers = {"chosen": answer, "rejected": "No."}
    return [
        {"prompt": text} | answers,
        {"prompt": [user], "chosen": [good], "rejected": [bad]},
        {"chosen": [user, good], "rejected": [user, bad]},
        {"chosen": [user, *more, good], "rejected": [user, *more, bad]},
        {"prompt": [user | {"role": "system"}, {"role": "user", "content": "Go on."}]} | answers,
        {"question": text} | answers,
        {"prompt": str([user]), "chosen": str([good]), "rejected": str([bad])},
    ]


@pytest.mark.parametrize("spelling", SPELLED)
def test_no_spelling_of_a_gate_question_in_any_place_is_kept(other: Run, tmp_path: Path, spelling: str) -> None:
    (gate,) = other.store.query(
        "SELECT question_id, question FROM questions WHERE split = 'gate' AND label = '' LIMIT 1"
    )
    q = gate["question"]
    text = spelling.format(q=q, bare=q.rstrip("?"), lower=q.lower(), split=q[:7] + "\u200b" + q[7:])
    for n, answer in enumerate(("Rest.", "Tea.")):
        found = import_preferences(other, write(tmp_path / f"{n}.jsonl", *shapes(text, answer)))
        assert found == Imported(0, {"held_out": 7}, 0), "nor does what was dropped make a training question"
    stored = other.store.query("SELECT question_id, status, reason FROM preferences")
    assert {(row["question_id"], row["status"]) for row in stored} == {(gate["question_id"], "dropped")}
    assert all(row["reason"].startswith("held_out: the gate or the sealed test asks this question (") for row in stored)
    assert other.store.query("SELECT 1 FROM questions WHERE dataset = 'imported'") == []


def test_a_question_id_that_contradicts_the_prompt(other: Run, tmp_path: Path) -> None:
    train = other.store.query(
        "SELECT question_id, question FROM questions WHERE split = 'train' AND label = '' LIMIT 2"
    )
    gate = other.store.query("SELECT question_id, question FROM questions WHERE split = 'gate' LIMIT 1")[0]
    answers = {"chosen": "Rest.", "rejected": "No."}
    rows = [
        {"prompt": gate["question"], "question_id": train[0]["question_id"]} | answers,
        {"prompt": train[0]["question"], "question_id": gate["question_id"]} | answers,
        {"prompt": train[0]["question"], "question_id": train[1]["question_id"]} | answers,
        {"prompt": "What helps against a cold nose?", "question_id": train[1]["question_id"]} | answers,
        {"question": train[0]["question"], "prompt": gate["question"]} | answers,
        {"prompt": train[0]["question"].upper(), "question_id": train[0]["question_id"]} | answers,
    ]
    found = import_preferences(other, write(tmp_path / "f.jsonl", *rows))
    assert (found.kept, sum(found.dropped.values())) == (1, 5), found
    assert set(found.dropped) == {"held_out", "two_prompts"}
    (kept,) = other.store.query("SELECT question_id FROM preferences WHERE status = 'kept'")
    assert kept["question_id"] == train[0]["question_id"]


def test_an_answer_that_is_the_gates_own(other: Run, tmp_path: Path) -> None:
    (gate,) = other.store.query("SELECT reference FROM questions WHERE split = 'gate' AND label = '' LIMIT 1")
    (train,) = other.store.query("SELECT question FROM questions WHERE split = 'train' AND label = '' LIMIT 1")
    rows = [
        {"prompt": "What helps against a cold nose?", "chosen": gate["reference"], "rejected": "No."},
        {"prompt": train["question"], "chosen": "Rest.", "rejected": gate["reference"].upper()},
    ]
    assert import_preferences(other, write(tmp_path / "f.jsonl", *rows)) == Imported(0, {"held_out": 2}, 0)


def test_what_is_no_pair_of_answers_to_one_question_is_dropped_and_told(other: Run, tmp_path: Path) -> None:
    def turns(*said: str) -> list[dict[str, str]]:
        return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]

    rows = [
        {"chosen": turns("What helps?", "Rest."), "rejected": turns("What hurts?", "Work.")},
        {"prompt": "What helps?", "chosen": turns("Rest."), "rejected": "Work."},
        {"prompt": "What helps?", "chosen": "Rest. ", "rejected": "Rest."},
        {"prompt": "What helps?", "chosen": turns("What helps?", "Rest.", "Thanks."), "rejected": "Work."},
        {"prompt": "What helps?", "chosen": "Tea.", "rejected": "Work.", "chosen_score": 0.2, "rejected_score": 0.9},
        {"prompt": "What helps?", "chosen": "Zinc.", "rejected": "Work.", "margin": -0.5},
    ]
    found = import_preferences(other, write(tmp_path / "f.jsonl", *rows))
    assert found == Imported(1, {"two_prompts": 1, "roles": 1, "same": 1, "scores": 2}, 0)
    assert found.told() == ", 1 dropped (two_prompts), 1 dropped (roles), 1 dropped (same), 2 dropped (scores)"
    (kept,) = other.store.query("SELECT chosen, rejected FROM preference_pairs")
    assert kept == {"chosen": "Rest.", "rejected": "Work."}
    (decision,) = other.store.query("SELECT reason, evidence FROM decisions")
    assert decision["reason"] == f"1 pairs from f.jsonl{found.told()}"
    assert json.loads(decision["evidence"])["dropped"] == found.dropped


@pytest.mark.parametrize(
    "scores",
    [
        [{"chosen_score": 9.0, "rejected_score": 3.5}, {"chosen_score": 1.0, "rejected_score": 0.5}],
        [{"chosen_score": 0.9, "rejected_score": -0.1}],
        [{"chosen_score": "90", "rejected_score": "35"}],
        [{"chosen_score": 0.9, "rejected_score": 0.4, "margin": 5.5}],
        [{"margin": 1.5}],
        [{"chosen_score": 1e999}],
        [{"chosen_score": 0.9, "rejected_score": 0.4, "margin": 0.1}],
    ],
)
def test_scores_on_another_scale_are_put_aside_and_told(
    other: Run, tmp_path: Path, scores: list[dict[str, Any]]
) -> None:
    rows = [{"prompt": f"What helps {i}?", "chosen": "Rest.", "rejected": "No."} | s for i, s in enumerate(scores)]
    path = tmp_path / "f.parquet"
    if any(isinstance(value, float) and value > 1e300 for s in scores for value in s.values()):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path = write(tmp_path / "f.jsonl", *rows)
    found = import_preferences(other, path)
    assert found == Imported(len(rows), {}, 0, len(rows))
    assert found.told() == f", scores of {len(rows)} put aside (not 0-1)"
    stored = other.store.query(
        "SELECT chosen_score, rejected_score, margin, origin FROM preferences ORDER BY origin ->> 'row'"
    )
    for row, given in zip(stored, scores, strict=True):
        assert row["chosen_score"] is row["rejected_score"] is row["margin"] is None
        assert json.loads(row["origin"])["scores_aside"] == {k: str(v) for k, v in given.items()}


def test_scores_of_nothing_are_scores(other: Run, tmp_path: Path) -> None:
    rows = [
        {"prompt": "What helps?", "chosen": "Rest.", "rejected": "No.", "chosen_score": 0, "rejected_score": 0.0},
        {"prompt": "What else?", "chosen": "Rest.", "rejected": "No.", "chosen_score": "", "margin": None},
    ]
    assert import_preferences(other, write(tmp_path / "f.jsonl", *rows)) == Imported(2, {}, 0)
    stored = other.store.query("SELECT chosen_score, margin FROM preferences ORDER BY chosen_score")
    assert [tuple(row.values()) for row in stored] == [(0, 0), (None, None)]


def test_conversations_that_went_through_csv(other: Run, tmp_path: Path) -> None:
    import csv

    def cell(text: str) -> str:
        return str([{"role": "user", "content": "What helps?"}, {"role": "assistant", "content": text}])

    with (tmp_path / "f.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt", "chosen", "rejected"], ["What helps?", cell("It's rest."), cell("No.")]])
    assert import_preferences(other, tmp_path / "f.csv") == Imported(1, {}, 0)
    assert other.store.query("SELECT question, chosen, rejected FROM preference_pairs") == [
        {"question": "What helps?", "chosen": "It's rest.", "rejected": "No."}
    ]


def test_a_folder_from_a_mac(other: Run, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", {"prompt": "What helps?", "chosen": "Rest.", "rejected": "No."})
    (tmp_path / "._train.jsonl").write_bytes(b"\0\5\x16\7")
    assert import_preferences(other, tmp_path) == Imported(1, {}, 0)


def test_files_of_other_trainers(other: Run, tmp_path: Path) -> None:
    """Strings, conversations with and without a prompt of their own; scores that are not given are NULL."""
    user, good, bad = (
        {"role": r, "content": c} for r, c in (("user", "What helps?"), ("assistant", "Rest."), ("assistant", "No."))
    )
    system = {"role": "system", "content": "Be brief."}
    rows = [
        {"prompt": "What helps against fever?", "chosen": " Rest.", "rejected": " No.", "margin": 0.25},
        {"prompt": [system, user], "chosen": [good], "rejected": [bad], "chosen_score": 0.75, "rejected_score": 0.5},
        {"chosen": [user, good], "rejected": [user, bad]},
    ]
    assert import_preferences(other, write(tmp_path / "f.jsonl", *rows)) == Imported(2, {}, 1)
    found = other.store.query(
        "SELECT question, chosen, rejected, margin, chosen_score FROM preference_pairs ORDER BY question"
    )
    assert [tuple(row.values()) for row in found] == [
        ("What helps against fever?", "Rest.", "No.", 0.25, None),
        ("What helps?", "Rest.", "No.", 0.25, 0.75),
    ]
    (row,) = other.store.query("SELECT DISTINCT dataset, split, reference FROM questions WHERE dataset = 'imported'")
    assert row == {"dataset": "imported", "split": "train", "reference": ""}, (
        "SFT and drawing take questions with references only"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, "rejected is null"),
        ({"prompt": "a", "chosen": "", "rejected": "b"}, "chosen is empty"),
        ({"chosen": "a", "rejected": "b"}, "prompt is empty"),
        ({"prompt": "a", "chosen": [{"text": "b"}], "rejected": "b"}, "chosen is no list of messages"),
        ({"prompt": "a", "chosen": 3, "rejected": "b"}, "chosen is int"),
        ({"prompt": "a", "chosen": "c", "rejected": "b", "margin": "much"}, "margin is 'much'"),
        ({"prompt": "a", "chosen": "c", "rejected": "b", "chosen_score": True}, "chosen_score is True"),
        ({"prompt": "a", "chosen": "c", "rejected": "b", "chosen_score": [1]}, r"chosen_score is \[1\]"),
        ({"prompt": "a", "chosen": "[{'role': 'user'}", "rejected": "b"}, "chosen is a list of messages written"),
    ],
)
def test_what_is_no_pair_is_named_with_its_line(other: Run, tmp_path: Path, row: dict[str, Any], message: str) -> None:
    good = {"prompt": "q", "chosen": "x", "rejected": "y"}
    with pytest.raises(DataError, match=rf"f\.jsonl line 2: {message}"):
        import_preferences(other, write(tmp_path / "f.jsonl", good, row))
    assert other.store.query("SELECT count(*) AS n FROM preferences")[0]["n"] == 0, "all or nothing"


def test_wrong_files_are_one_line(other: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        import_preferences(other, tmp_path / "absent.parquet")
    with pytest.raises(DataError, match="columns chosen, rejected missing"):
        import_preferences(other, write(tmp_path / "f.jsonl", {"prompt": "a"}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 data files"):
        import_preferences(other, tmp_path / "empty")


def test_a_loop_at_work_is_not_disturbed(paired_run: Run, other: Run, tmp_path: Path) -> None:
    export_preferences(paired_run, "jsonl", tmp_path / "prefs", "")
    with run_lock(other.folder), pytest.raises(RlaifError):
        import_preferences(open_run(other.folder), tmp_path / "prefs")


def test_the_columns_and_types_of_the_file(paired_run: Run, tmp_path: Path) -> None:
    export_preferences(paired_run, "parquet", tmp_path / "prefs", "")
    schema = pq.read_schema(tmp_path / "prefs" / "train.parquet")
    assert schema.names == list(COLUMNS)
    assert str(schema.field("margin").type) == "double" and str(schema.field("round").type) == "int64"
    row = pq.read_table(tmp_path / "prefs" / "train.parquet").to_pylist()[0]
    assert [m["role"] for m in row["prompt"] + row["chosen"] + row["rejected"]] == [
        "system",
        "user",
        "assistant",
        "assistant",
    ]
    assert row["question"] in row["prompt"][1]["content"] and row["judge"] == "reference"


def test_targets_are_not_overwritten(paired_run: Run, other: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "there.parquet").touch()
    for out in ("full", "there.parquet"):
        with pytest.raises(UsageError, match="exists already"):
            export_preferences(paired_run, "parquet", tmp_path / out, "")
    with pytest.raises(UsageError, match="no kept preference pair"):
        export_preferences(other, "parquet", tmp_path / "new", "")
    with pytest.raises(UsageError, match="--out PATH is missing"):
        export_preferences(paired_run, "parquet", None, "")
    export_preferences(paired_run, "parquet", tmp_path / "one.parquet", "")
    assert (tmp_path / "one.README.md").is_file() and not (tmp_path / "new").exists()


def test_dpo_trains_on_imported_pairs_until_a_policy_of_the_line_has(paired_run: Run, tmp_path: Path) -> None:
    def ids(champion: str, round: int) -> list[str]:
        return [row["pair_id"] for row in dpo_pairs(paired_run, champion, round, paired_run.config)]

    assert ids("5f70000000000000", 1) == ["p0", "p1", "p2", "p3"] and ids("base0", 1) == []
    rows = [
        {"prompt": f"What helps against {what}?", "chosen": "Rest.", "rejected": "No."} for what in ("fever", "cough")
    ]
    import_preferences(paired_run, write(tmp_path / "f.jsonl", *rows))
    new = sorted(set(ids("5f70000000000000", 1)) - {"p0", "p1", "p2", "p3"})
    assert len(new) == 2 and ids("base0", 1) == new
    dpo = {"policy_id": "d901000000000000", "kind": "dpo", "round": 1, "parent_id": "5f70000000000000"}
    paired_run.store.write(
        {
            "policies": [dpo],
            "policy_items": [{"policy_id": "d901000000000000", "item_id": i, "role": "dpo"} for i in new],
        }
    )
    assert ids("d901000000000000", 2) == [], "it was trained on them, and wrote none of the run's own"
    assert ids("5f70000000000000", 2) == sorted(["p0", "p1", "p2", "p3", *new]), (
        "the champion was not: a challenger that failed does not use them up"
    )


def published(number: int) -> dict[str, Any]:
    """A row of UltraMedical-Preference, as it is published."""
    prompt = f"What helps against ailment {number}?"
    user = {"role": "user", "content": prompt}
    answers = {"chosen": f"Rest and water help against ailment {number}.", "rejected": "Nothing."}
    return {
        "prompt_id": f"WikiInstruct,{number}",
        "label_type": "hard",
        "prompt": prompt,
        **{side: [user, {"role": "assistant", "content": text}] for side, text in answers.items()},
        "metadata": {
            "chosen": {"model": "m", "rank": 1, "score": 9.0},
            "rejected": {"model": "n", "rank": 4, "score": 3.0},
        },
    }


def test_the_published_pairs_of_ultramedical_preference(other: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f.jsonl", *(published(i) for i in range(20)))
    assert import_preferences(other, file, limit=5) == Imported(5, {}, 0)
    assert import_preferences(other, file, limit=5) == Imported(0, {}, 5), "the same ones are drawn again"
    assert import_preferences(other, str(file)) == Imported(15, {}, 5)
    found = other.store.query(
        "SELECT p.origin, p.chosen_score, c.text FROM preferences p JOIN answers c ON c.candidate_id = p.chosen_id"
    )
    assert len(found) == 20 and all(row["text"].startswith("Rest and water") for row in found)
    assert {row["chosen_score"] for row in found} == {None}, "the set's marks are on a scale of their own"
    origin = json.loads(found[0]["origin"])
    assert origin["label_type"] == "hard" and origin["metadata"]["chosen"]["score"] == 9.0
    assert origin["prompt_id"].startswith("WikiInstruct,")


def test_a_hub_id_that_cannot_be_reached_is_one_line(other: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        DataError, match=r"owner/pairs: is no file here, and the hub cannot be reached .*no network.* instead$"
    ):
        import_preferences(other, "owner/pairs")


@pytest.mark.slow
def test_dpo_on_published_pairs_alone(trained_run: Run, tmp_path: Path) -> None:
    """The base, none of whose own answers were judged, learns to prefer what the set's people and models preferred."""
    from rlaif.models.base import load_base
    from rlaif.prompts import load_prompt
    from rlaif.review.align import align
    from rlaif.screen import Screen
    from rlaif.train.stages import dpo

    run = open_run(Path(shutil.copytree(trained_run.folder, tmp_path / "run")))
    file = write(tmp_path / "f.jsonl", *(published(i) for i in range(16)))
    import_preferences(run, file)
    policy_id = dpo(run, load_base(run.config.model), "base0", 1, load_prompt(run.config.prompts.policy), Screen())
    trained = {
        row["item_id"] for row in run.store.query("SELECT item_id FROM policy_items WHERE policy_id = ?", [policy_id])
    }
    assert trained == {
        row["pair_id"] for row in run.store.query("SELECT pair_id FROM preferences WHERE kind = 'imported'")
    }
    (row,) = [
        r
        for r in align(run, str(file), [policy_id], [], 0, Screen())["rows"]
        if r["measure"] == "reward" and r["kind"] == "all"
    ]
    assert row["agree"] >= 15 and row["trained_on"] == 16
