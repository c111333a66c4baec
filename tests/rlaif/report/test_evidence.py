from types import SimpleNamespace

from rlaif.report import evidence, tables
from rlaif.report.data import read
from stores.store import Store


def test_every_condition_of_the_gate_is_a_row_with_its_result(finished: Store) -> None:
    newest, first = evidence.gate_rounds(read(finished))
    assert (newest.title, newest.result, first.title, first.result) == (
        "round 1 against SFT",
        "inconclusive",
        "SFT against base",
        "promoted",
    )
    assert sorted((c.measure, c.passed) for c in first.conditions) == [
        ("medquad_style token F1", True),
        ("pubmedqa_style accuracy", False),
    ]
    assert [(c.measure, c.passed) for c in first.validity] == [("medquad_style token F1, same items", True)]
    better = next(c for c in first.conditions if c.passed)
    assert better.change == "0.500 → 0.600"
    assert better.difference == "+0.100 (95%: +0.020 to +0.180)"
    assert better.needed == "≥ +0.005, p ≤ 0.010"
    assert first.reason == "Look 1 of SFT: a gain counts with p at or below 0.010, and on one measure is enough."
    assert [c.result for c in first.conditions] == ["✓ passed", "not shown"], "one gain is enough"
    assert {c.result for c in newest.conditions} == {"✗ failed"}
    assert better.detail == "p 0.0040, adjusted 0.0080"
    assert "2 items won, 1 lost" in next(c for c in first.conditions if not c.passed).detail


def test_only_the_last_look_of_a_round_is_shown(finished: Store, rows: SimpleNamespace) -> None:
    again = rows.gate(1, "sft00000bb", "dpo10000cc", "better", "token_f1", True) | {"look": 2}
    finished.write({"gates": [again]})
    assert [c.passed for c in evidence.gate_rounds(read(finished))[0].conditions] == [True]


def test_monitors_stand_apart_from_what_was_measured(finished: Store, rows: SimpleNamespace) -> None:
    last = max(row["round"] for row in read(finished).snapshot.rounds)
    base = rows.gate(last, "sft00000bb", "dpo10000cc", "guard", "kl_to_sft", True)
    finished.write({"gates": [base, base | {"metric": "overfit", "passed": False}]})
    newest = evidence.gate_rounds(read(finished))[0]
    assert [(c.measure.split()[-2:], c.passed) for c in newest.guards] and not newest.guarded
    assert {c.passed for c in newest.guards} == {True, False} and all(c.name != "Guard" for c in newest.conditions)


def test_confusion_of_target_and_prediction(finished: Store) -> None:
    base, sft, dpo = evidence.matrices(read(finished))
    assert base.labels == ("yes", "no", "maybe")
    assert base.rows[0] == ("yes", ((0, 0.0), (2, 1.0), (0, 0.0)))
    assert (sft.title, sft.labels) == (
        "SFT, pubmedqa_style",
        ("yes", "no", "maybe", "other"),
    )  # it said something else once
    assert sft.rows[0] == ("yes", ((1, 0.5), (0, 0.0), (0, 0.0), (1, 0.5)))
    assert sft.score.startswith("accuracy 0.750, macro-F1 0.")
    assert dpo.rows[2] == ("maybe", ((0, 0.0), (0, 0.0), (1, 1.0)))


def test_scores_of_different_protocols_are_never_put_side_by_side(finished: Store) -> None:
    row = {
        "policy_id": "sft00000bb",
        "benchmark": "pubmedqa_style",
        "split": "gate",
        "metric": "accuracy",
        "status": "scored",
    }
    finished.write(
        {
            "eval_items": [
                row | {"item_id": f"x{i}", "value": 0.0, "protocol_hash": "p2", "data_sha256": "d2"} for i in range(99)
            ]
        }
    )
    data = read(finished)
    (members,) = (m for key, m in evidence.compared(data).items() if key[2] == "accuracy")
    assert [(s.policy_id, s.n) for s in members] == [("base0000aa", 4), ("sft00000bb", 4), ("dpo10000cc", 4)]
    assert any(row[5] == "99" for row in tables.measurements(data).rows)  # but it is told


def test_lineage_and_what_became_of_the_questions(finished: Store) -> None:
    data = read(finished)
    chain = tables.lineage(data)
    assert [a.name for a in chain] == ["base", "SFT"]
    assert "trained on 3 sft items" in chain[1].facts
    assert tables.pair_counts(data) == {1: {"kept": 1, "tie": 2}}
    assert tables.answers(data).rows == (("1", "3", "1", "0.650", "1 from 3 questions", "33%", "–", "0%", "0.0%"),)
    reasons = tables.drop_reasons(tables.pair_counts(data))
    assert reasons.columns == ("", "round 1") and reasons.rows == (("kept", "33% (1)"), ("tie", "67% (2)"))


def test_a_question_with_several_pairs_is_one_question(finished: Store) -> None:
    finished.write({
        "preferences": [
            {"pair_id": "a9", "round": 1, "judge_id": "j1", "question_id": "q1", "status": "kept", "chosen_id": "c1",
             "rejected_id": "c3", "reason": "further: pair 2 of the question"},
        ]
    })  # fmt: skip
    data = read(finished)
    assert tables.pair_counts(data) == {1: {"kept": 1, "tie": 2}}
    assert tables.answers(data).rows[0][4:6] == ("2 from 3 questions", "33%")


def test_a_parent_that_leads_back_to_itself_ends(finished: Store) -> None:
    finished.execute([("UPDATE policies SET parent_id = 'sft00000bb' WHERE policy_id = 'base0000aa'", [])])
    assert len(tables.lineage(read(finished))) <= 4
