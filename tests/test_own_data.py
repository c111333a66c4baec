"""A person's own CSV: init, then loop, to a gated decision; and what is said where something is missing."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from command_line import call
from stores.store import Store

PLACES = [
    a + b
    for a in ("Nor", "Sel", "Kar", "Wim", "Tol", "Bre", "Gan", "Lus")
    for b in ("heim", "burg", "tal", "au", "feld")
]
RIVERS, GOODS = ("Aar", "Ilm", "Ruhr", "Saale", "Elster"), ("Glas", "Papier", "Uhren", "Leder", "Tuch", "Käse", "Wein")
TINY = """
    --set model.threads=1 --set model.lora_r=8 --set sft.epochs=1 --set sampling.questions=12 --set sampling.k=2
    --set sampling.max_new_tokens=16 --set evaluation.max_new_tokens=16 --set gate.resamples=1000
""".split()


def cities(path: Path, labels: bool = False) -> Path:
    """80 rows in German, with `;` and a byte order mark; every second has a label in the place of an answer."""
    rows = []
    for i, place in enumerate(PLACES):
        river, goods = RIVERS[i % 5], GOODS[i % 7]
        rows.append((f"An welchem Fluss liegt {place}?", f"{place} liegt am Fluss {river}.", ""))
        label = ("ja", "nein")[i % 2] if labels else ""
        rows.append(
            (f"Was wird in {place} hergestellt?", "" if label else f"In {place} stellt man {goods} her.", label)
        )
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows([("Frage", "Antwort", "Etikett"), *rows])
    return path


def test_what_is_wrong_with_a_file_is_said_before_anything_is_made(tmp_path: Path) -> None:
    odd, run = tmp_path / "odd.csv", tmp_path / "run"
    odd.write_text("Nr;Sagt;Meint\n" + "".join(f"{i};Satz {i}?;Wort {i}\n" for i in range(40)), "utf-8")
    for command in (["loop"], ["train"], ["init", "--out", tmp_path / "mine.toml"]):
        where = [] if command[0] == "init" else ["--run", run]
        code, _, err = call(*command, "--data", odd, *where)
        assert code == 2 and "found nr, sagt, meint" in err and "--column question=NAME" in err
        code, _, err = call(*command, "--column", "question=Sagt", *where)
        assert code == 2 and "there is no --data" in err
        code, _, err = call(*command, "--data", odd, "--column", "Sagt", *where)
        assert code == 2 and "needs FIELD=NAME" in err
    assert not run.exists() and not (tmp_path / "mine.toml").exists()
    code, _, err = call("init", "--data", odd, "--out", odd)
    assert code == 2 and "ends in .toml" in err


def test_a_run_without_gate_questions_says_what_to_give(tmp_path: Path) -> None:
    code, _, err = call(
        "loop",
        "--run",
        tmp_path / "run",
        "--set",
        "data.pubmedqa=",
        "--set",
        "data.medquad=",
        "--set",
        "judge.model=reference",
    )
    assert code == 2 and "--data FILE" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("torch_threads")
def test_init_and_loop_come_to_a_gated_decision(tmp_path: Path) -> None:
    data, profile, run = cities(tmp_path / "cities.csv"), tmp_path / "mine.toml", tmp_path / "run"
    code, out, err = call("init", "--data", data, "--out", profile)
    assert code == 0 and "question = frage, answer = antwort" in out and "rows     4" in out, err
    text = profile.read_text("utf-8")
    assert "exam" in text and re.search(r"about .* min to .* for 3 rounds, memory about \d", text)
    code, _, err = call("init", "--data", data, "--out", profile)
    assert code == 2 and "exists" in err and profile.read_text("utf-8") == text
    code, _, err = call("loop", "--profile", profile, "--run", run, "--rounds", 1, *TINY)
    assert code == 0 and "own_text" in err and "frage" in err and "gate  " in err, err
    query = Store.open(run).query
    gate = query("SELECT DISTINCT benchmark, metric FROM gates WHERE condition = 'better'")
    assert gate == [{"benchmark": "own_text", "metric": "quality"}]
    decided = query("SELECT evidence ->> '$.alpha_shares' AS shares FROM decisions WHERE kind = 'gate'")
    assert decided and all(json.loads(row["shares"]) == {"quality": 1.0} for row in decided), "nothing shares alpha"
    assert query("SELECT count(*) AS n FROM rounds WHERE decision IS NOT NULL") == [{"n": 2}]
    sides = query("SELECT group_id FROM questions GROUP BY group_id HAVING count(DISTINCT split) > 1")
    assert sides == []
    code, out, err = call(
        "evaluate",
        "--run",
        run,
        "--benchmark",
        "own_text",
        "--data",
        data,
        "--column",
        "question=Frage",
        "--limit",
        4,
        "--format",
        "json",
    )
    assert code == 0 and json.loads(out)["n"] == 4, err


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("torch_threads")
def test_labels_alone_are_gated_in_round_0_and_beside_free_text_where_they_are_read(tmp_path: Path) -> None:
    data, run = cities(tmp_path / "cities.csv", labels=True), tmp_path / "run"
    code, _, err = call("loop", "--data", data, "--run", run, "--rounds", 1, *TINY)
    assert code == 0, err
    query = Store.open(run).query
    # a model this small does not read the texts: its accuracy is compared, and decides nothing
    compared = query(
        "SELECT condition, metric FROM gates WHERE condition IN ('better', 'not_read') AND round = 0 AND "
        "metric <> 'macro_f1' ORDER BY metric"
    )
    assert [(row["condition"], row["metric"]) for row in compared] == [("not_read", "accuracy"), ("better", "quality")]
    predicted = query("SELECT DISTINCT prediction FROM eval_items WHERE metric = 'accuracy'")
    assert {row["prediction"] for row in predicted} <= {"ja", "nein"}
    only = tmp_path / "labels.csv"
    with data.open(encoding="utf-8-sig") as file, only.open("w", encoding="utf-8") as out:
        out.writelines(line for i, line in enumerate(file) if i == 0 or not line.endswith(";\n"))
    alone = tmp_path / "alone"
    code, _, err = call("loop", "--data", only, "--run", alone, "--rounds", 1, *TINY)
    assert code == 0 and "the loop ends after round 0" in err
    assert {r["metric"] for r in Store.open(alone).query("SELECT metric FROM gates WHERE condition = 'better'")} == {
        "accuracy"
    }
