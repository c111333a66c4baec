from __future__ import annotations

import dataclasses

from rlaif.report.data import read
from rlaif.report.judges import exams, healthbench, together, warnings
from rlaif.report.page import render
from rlaif.report.snapshot import take
from stores.store import Store


def item(judge_id: str, pair: int, outcome: str) -> dict[str, object]:
    return {"exam": "embedded", "judge_id": judge_id, "item_type": "negated", "pair": f"p{pair:03}", "outcome": outcome}


def two_judges(store: Store, both: int, one: int, other: int, n: int) -> None:
    """j1 labels and j9 marks for the gate: of `n` pairs both err on `both`, j1 alone on `one`, j9 alone on `other`."""
    rows = []
    for k in range(n):
        labels = k < both + one
        gate = k < both or both + one <= k < both + one + other
        rows += [item("j1", k, "tie" if labels else "ordered"), item("j9", k, "reversed" if gate else "ordered")]
    mark = {"policy_id": "base0000aa", "benchmark": "medquad", "split": "gate", "metric": "quality", "prediction": ""}
    mark |= {"target": "", "value": 0.5, "status": "scored", "reason": "", "protocol_hash": "h", "data_sha256": "d"}
    marks = [mark | {"item_id": f"i{k}", "judge_id": "j9", "value": k / 10} for k in range(5)]
    marks += [m | {"judge_id": "j1", "metric": "labelling_quality", "value": 1 - m["value"]} for m in marks]
    store.write({"exam_items": rows, "eval_items": marks})


def test_errors_that_two_judges_share_are_counted_on_the_pairs_that_both_were_asked(finished: Store) -> None:
    two_judges(finished, both=10, one=10, other=10, n=200)
    finished.write({"exam_items": [item("j1", 900, "reversed"), item("j9", 901, "reversed")]})  # asked of one alone
    data = read(finished)
    (row,) = data["together"]
    assert (row["n"], row["labels_wrong"], row["gate_wrong"], row["both_wrong"]) == (200, 20, 20, 10)
    # phi of a fourfold table, by hand: (10 * 170 - 10 * 10) / (20 * 180) = 0.444
    assert round(row["phi"], 4) == 0.4444
    table = together(data)
    assert table is not None
    assert table.rows == (("embedded", "200", "10.0%", "10.0%", "5.0%", "1.0%", "0.444"),)
    assert "on 5 answers of this run that both marked, their marks correlate -1.00" in table.note
    words = "The two judges err on the same 5.0% of the embedded exam's pairs, 5.0 times what independent ones would"
    assert warnings(data) == [f"{words} (correlation 0.44)."]


def test_judges_that_err_apart_are_no_warning_and_one_without_errors_has_no_correlation(finished: Store) -> None:
    two_judges(finished, both=1, one=9, other=9, n=100)
    assert warnings(read(finished)) == []
    finished.execute([("UPDATE exam_items SET outcome = 'ordered' WHERE judge_id = 'j9'", [])])
    (row,) = read(finished)["together"]
    assert row["phi"] is None and warnings(read(finished)) == []
    table = together(read(finished))
    assert table is not None and table.rows[0][-1] == "–"


def test_two_judges_of_one_kind_are_named(finished: Store) -> None:
    data = read(finished)
    for labels, gate, shared in (
        ("support", "reference", "comparing words"),
        ("openai:a", "openai:a", "openai:a"),
        ("support,openai:a", "openai:a", "openai:a"),
    ):
        config = data.config | {"judge.model": labels, "evaluation.judge": gate}
        (said,) = warnings(dataclasses.replace(data, config=config))
        assert f"are of one kind ({shared})" in said
    for labels, gate in (("local:embedded", "reference"), ("openai:a", "openai:b"), ("reference", "")):
        config = data.config | {"judge.model": labels, "evaluation.judge": gate}
        assert warnings(dataclasses.replace(data, config=config)) == []


def test_which_exam_when_and_with_what_restriction(finished: Store) -> None:
    sat = {"exam": "medquad", "judge_id": "j1", "n": 2048, "pair_accuracy": 0.88, "lower_bound": 0.867, "passed": True}
    limits = ["word_order: pair accuracy 0.740, bound 0.686 < 0.75; blind to the order of words"]
    finished.write({"licences": [sat | {"limits": limits, "data_sha256": "a" * 64}]})
    sitting = {"exam_sha256": "x", "judge_id": "j1", "exam": "medquad", "family": "reference", "passed": True}
    finished.write({"exam_sittings": [sitting | {"number": n} for n in (1, 2, 3)]})
    reason = "reference labels with a restricted licence: its marks say nothing of the order of words"
    decision = {"seq": 90, "round": 0, "kind": "licence", "action": "RESTRICTED", "reason": reason, "evidence": "{}"}
    finished.write({"decisions": [decision]})
    data = read(finished)
    table = exams(data)
    assert table is not None
    (row,) = table.rows
    assert row[1] == "medquad" and row[3] == "restricted (rules failed: 1)" and row[6:] == ("a" * 12, "3")
    assert row[2].startswith("20") and len(row[2]) == 16
    assert warnings(data) == [f"The judge {reason}."]


def test_healthbenchs_figures_stand_beside_their_grader(finished: Store) -> None:
    assert healthbench(read(finished)) is None
    row = {"benchmark": "healthbench", "split": "gate", "metric": "quality", "judge_id": "j77", "prediction": "a"}
    row |= {"target": "", "protocol_hash": "h", "data_sha256": "d"}
    values = {"base0000aa": [-1.0, -0.5, 0.2, None], "sft0000aaa": [0.5, 0.7, 0.6, None]}
    scored, unscored = {"status": "scored", "reason": ""}, {"status": "failed", "reason": "no answer"}
    rows = [
        row | {"policy_id": p, "item_id": f"h{i}", "value": v} | (unscored if v is None else scored)
        for p, of in values.items()
        for i, v in enumerate(of)
    ]
    judge = {"judge_id": "j77", "model": "openai:a", "prompt_name": "rubric", "prompt_sha256": "p", "decoding": "{}"}
    finished.write({"eval_items": rows, "judges": [judge]})
    table = healthbench(read(finished))
    assert table is not None
    base, other = table.rows
    assert base[2] == "0.000" and other[2] == "0.600", "clipped after the mean"
    assert base[4:] == ("3", "1", "openai:a, rubric (j77)", "–")
    assert "HealthBench" in render(read(finished)) and "openai:a, rubric (j77)" in render(read(finished))
    assert take(finished).graders == [
        {"benchmark": "healthbench", "model": "openai:a", "prompt_name": "rubric", "judge_id": "j77"}
    ]
