from importlib.resources import files
from random import Random

import pytest

from rlaif import stats


def test_preference_pairs_shows_kept_pairs_with_their_texts(store, rows):
    store.write({
        "questions": [{"question_id": "q1", "dataset": "d", "split": "train", "source_id": "s", "group_id": "g",
                       "question": "Why?"}],
        "candidates": [rows.candidate("a"), rows.candidate("b")],
        "judges": [{"judge_id": "j1", "model": "m", "prompt_name": "strict"}],
        "preferences": [
            rows.preference("x", "a", "b", chosen_score=0.9, rejected_score=0.4, margin=0.5),
            rows.preference("y", "b", "a", "dropped"),
            rows.preference("z", "a", "lost", judge_id="unknown"),
        ],
    })  # fmt: skip
    found = store.query("SELECT * EXCLUDE (round, question_id) FROM preference_pairs ORDER BY pair_id")
    assert [tuple(row.values()) for row in found] == [
        ("x", "Why?", "answer a", "answer b", 0.9, 0.4, 0.5, "m", "strict", "a", "b", "j1", "judged"),
        ("z", "Why?", "answer a", None, None, None, None, None, None, "a", "lost", "unknown", "judged"),
    ]


def test_round_summary(store, rows):
    store.write({
        "rounds": [
            {"round": 0, "champion_in": "base", "challenger": "sft", "champion_out": "sft", "decision": "PROMOTE"},
            {"round": 1, "champion_in": "sft"},
        ],
        "candidates": [*(rows.candidate(name) for name in "abcd"), rows.candidate("e", round=2)],
        "verdicts": [
            rows.verdict("a", score=0.9),
            rows.verdict("a", replicate=1, score=0.0),  # a second asking
            rows.verdict("b", score=0.4),
            rows.verdict("c", status="failed", reason="timeout"),
            rows.verdict("d", score=0.2),
            rows.verdict("a", "j2", score=0.1),  # a judge that labelled nothing in round 1
            rows.verdict("e", "j2", score=0.6),
        ],
        "preferences": [
            rows.preference("x", "a", "d"), rows.preference("v", "b", "d"),  # two pairs of one question
            *(rows.preference(q, None, None, "dropped", question_id=q) for q in ("q2", "q3", "q4")),
            rows.preference("w", "reference:q4", "d", question_id="q4", kind="reference"),  # no mark made it
        ],
    })  # fmt: skip
    found = store.query("SELECT * FROM round_summary")
    assert [tuple(row.values()) for row in found] == [
        (0, 0, 0, 0, None, 0, 0, None, "base", "sft", "sft", "PROMOTE"),
        (1, 4, 3, 1, pytest.approx(0.5), 2, 3, 0.25, "sft", None, None, None),
        (2, 1, 1, 0, pytest.approx(0.6), 0, 0, None, None, None, None, None),
    ]


def test_a_question_has_one_outcome_however_many_pairs_it_gave(store, rows):
    def of(question, *pairs):
        return [
            rows.preference(f"{question}{n}", "a", f"b{n}", status, reason=reason, question_id=question)
            for n, (status, reason) in enumerate(pairs)
        ]

    store.write({
        "preferences": [
            *of("q1", ("kept", ""), ("kept", "further: pair 2 of the question")),
            *of("q2", ("kept", "fallback: length_ratio: 3.00 outside 0.67-1.50"), ("dropped", "pairwise: a tie")),
            *of("q3", ("dropped", "length_balance: too many"), ("kept", "further: pair 2 of the question")),
            *of("q4", ("dropped", "all_bad: best 0.10 < 0.50")),
            *of("q5", ("dropped", "excluded by hand: wrong")),
        ]
    })  # fmt: skip
    found = store.query("SELECT question_id, pairs_kept, outcome FROM pair_outcomes ORDER BY question_id")
    assert [tuple(row.values()) for row in found] == [
        ("q1", 2, "kept"), ("q2", 1, "fallback"), ("q3", 1, "further"), ("q4", 0, "all_bad"),
        ("q5", 0, "excluded by hand"),
    ]  # fmt: skip


def test_answers_are_as_they_were_judged(store, rows):
    store.write({
        "candidates": [rows.candidate("a"), rows.candidate("b")],
        "cut_answers": [{"candidate_id": "a", "text": "answer.", "n_tokens": 2}],
        "imported_answers": [{"candidate_id": "c", "question_id": "q1", "text": "from a file"}],
        "preferences": [rows.preference("x", "a", "b")],
    })  # fmt: skip
    found = store.query("SELECT candidate_id, text, n_tokens FROM answers ORDER BY candidate_id")
    assert [tuple(r.values()) for r in found] == [("a", "answer.", 2), ("b", "answer b", 3), ("c", "from a file", None)]
    assert store.query("SELECT chosen, rejected FROM preference_pairs") == [
        {"chosen": "answer.", "rejected": "answer b"}
    ]
    assert store.query("SELECT text FROM candidates WHERE candidate_id = 'a'") == [{"text": "answer a"}]


def test_leaderboard_means_leave_unscored_items_out_and_count_them(store, rows):
    style = {"benchmark": "medquad_style", "metric": "token_f1"}
    store.write({
        "policies": [{"policy_id": "p1", "kind": "sft", "round": 0}],
        "eval_items": [
            rows.eval_item("1", "", 0.2) | style, rows.eval_item("2", "", 0.6) | style,
            rows.eval_item("3", "", None) | style,
            rows.eval_item("1", "", 1.0) | style | {"protocol_hash": "another"},
            rows.eval_item("1", "", 1.0) | style | {"split": "sealed"},
        ],
    })  # fmt: skip
    found = store.query(
        "SELECT kind, split, metric, mean, n, n_unscored, protocol_hash FROM leaderboard ORDER BY split, protocol_hash"
    )
    assert [tuple(row.values()) for row in found] == [
        ("sft", "gate", "token_f1", pytest.approx(0.4), 2, 1, ""),
        ("sft", "gate", "token_f1", 1.0, 1, 0, "another"),
        ("sft", "sealed", "token_f1", 1.0, 1, 0, ""),
    ]


def macro_f1(store, rows, answers):
    store.write({
        "eval_items": [
            rows.eval_item(str(i), "accuracy", float(target == answer), prediction=answer, target=target)
            for i, (target, answer) in enumerate(answers)
        ]
    })  # fmt: skip
    return [tuple(row.values()) for row in store.query("SELECT metric, mean, n FROM leaderboard ORDER BY metric")]


def test_macro_f1_by_hand(store, rows):
    answers = [("yes", "yes"), ("yes", "yes"), ("yes", "no"), ("no", "no"), ("maybe", "yes"), ("maybe", "")]
    # yes: tp 2, fp 1, fn 1 -> 4/6; no: tp 1, fp 1, fn 0 -> 2/3; maybe: tp 0 -> 0
    assert macro_f1(store, rows, answers) == [
        ("accuracy", pytest.approx(3 / 6), 6),
        ("macro_f1", pytest.approx((4 / 6 + 2 / 3 + 0) / 3), 6),
    ]


def test_macro_f1_leaves_out_a_class_that_does_not_occur(store, rows):
    assert macro_f1(store, rows, [("yes", "yes"), ("no", "yes")])[1] == ("macro_f1", pytest.approx((2 / 3 + 0) / 2), 2)


def test_an_answer_that_no_item_asks_for_is_a_miss_and_no_class(store, rows):
    assert macro_f1(store, rows, [("yes", "yes"), ("no", "maybe")])[1] == ("macro_f1", pytest.approx((1 + 0) / 2), 2)


def test_labels_of_a_readers_own_have_macro_f1(store, rows):
    answers = [("ja", "ja"), ("ja", "nein"), ("nein", "nein")]
    store.write({
        "eval_items": [
            rows.eval_item(str(i), "accuracy", float(t == a), prediction=a, target=t, benchmark="own_labels")
            for i, (t, a) in enumerate(answers)
        ]
    })  # fmt: skip
    found = store.query("SELECT mean FROM leaderboard WHERE metric = 'macro_f1'")
    assert found == [{"mean": pytest.approx(2 / 3)}]
    assert stats.macro_f1(*zip(*answers, strict=True)) == pytest.approx(2 / 3), "the gate computes the same"


def test_only_labels_have_macro_f1(store, rows):
    store.write({"eval_items": [rows.eval_item("1", "accuracy", 1.0, "A", "A", benchmark="medqa")]})
    assert [row["metric"] for row in store.query("SELECT metric FROM leaderboard")] == ["accuracy"]


def test_judge_agreement(store, rows):
    one = {"a": 0.1, "b": 0.5, "c": 0.9, "d": 0.5}
    two = {"a": 0.2, "b": 0.4, "c": 0.6, "d": 0.8}
    store.write({
        "judges": [{"judge_id": "j1", "model": "m1"}, {"judge_id": "j2", "model": "m2"}],
        "candidates": [*(rows.candidate(name) for name in "abcd"), rows.candidate("e"), rows.candidate("f", "q2")],
        "verdicts": [
            *(rows.verdict(name, "j1", score=score) for name, score in one.items()),
            *(rows.verdict(name, "j2", score=score) for name, score in two.items()),
            rows.verdict("e", "j1", score=0.3), rows.verdict("e", "j2", status="failed", reason="timeout"),
        ],
    })  # fmt: skip
    (row,) = store.query("SELECT * FROM judge_agreement")
    assert (row["judge_a"], row["judge_b"], row["model_a"], row["model_b"], row["n"]) == ("j1", "j2", "m1", "m2", 4)
    assert row["mean_difference"] == pytest.approx(0.0)
    # deviations (-.4, 0, .4, 0) and (-.3, -.1, .1, .3): 0.16 / sqrt(0.32 * 0.20)
    assert row["pearson"] == pytest.approx(0.16 / (0.32 * 0.20) ** 0.5)
    # ranks (1, 2.5, 4, 2.5) and (1, 2, 3, 4): 3 / sqrt(4.5 * 5)
    assert row["spearman"] == pytest.approx(3 / (4.5 * 5) ** 0.5)
    # six pairs; b and d are a tie for j1; of the other five only c, d is turned round
    assert (row["n_ordered"], row["same_order"]) == (5, pytest.approx(4 / 5))


def test_judge_agreement_orders_only_within_a_question_and_survives_a_constant_judge(store, rows):
    store.write({
        "candidates": [rows.candidate("a", "q1"), rows.candidate("b", "q2")],
        "verdicts": [rows.verdict(name, judge, score=score) for name, judge, score in
                     [("a", "j1", 0.1), ("b", "j1", 0.9), ("a", "j2", 0.5), ("b", "j2", 0.5)]],
    })  # fmt: skip
    (row,) = store.query("SELECT n, pearson, spearman, n_ordered, same_order FROM judge_agreement")
    assert row == {"n": 2, "pearson": None, "spearman": None, "n_ordered": 0, "same_order": None}


def test_judge_agreement_is_what_its_first_version_was_wherever_all_judges_score(store, rows):
    script = (files("stores") / "sql" / "0002_views.sql").read_text("utf-8")
    old = script.partition("CREATE VIEW judge_agreement AS")[2].rstrip().rstrip(";")
    random = Random(1)
    names = [f"c{i}" for i in range(120)]
    verdicts = [
        rows.verdict(name, judge, replicate, score=random.randrange(5) / 4)
        for name in names for judge in ("j1", "j2", "j3", "j4") for replicate in range(random.randrange(3))
    ]  # fmt: skip
    verdicts += [rows.verdict(name, "j5", status="failed", reason="timeout") for name in names]
    # the rows of the last ten are lost
    candidates = [rows.candidate(name, f"q{i // 4}", round=1 + i % 8 // 4) for i, name in enumerate(names[:110])]
    store.write({"candidates": candidates, "verdicts": verdicts, "judges": [{"judge_id": "j1", "model": "m"}]})
    new, before = store.query("SELECT * FROM judge_agreement"), store.query(old)
    assert len(new) == 6 and [list(row) for row in new] == [list(row) for row in before]
    for one, two in zip(new, before, strict=True):
        assert one == pytest.approx(two, nan_ok=True)


def test_judge_agreement_counts_orders_of_pairs_beside_scores(store, rows):
    def said(judge, a, b, order, winner, status="scored"):
        row = {
            "judge_id": judge,
            "candidate_a": a,
            "candidate_b": b,
            "order": order,
            "winner": winner,
            "status": status,
        }
        return row | {"reason": "" if winner else "why"}

    scores = {"a": 0.9, "b": 0.1, "c": 0.4, "d": 0.4, "e": 0.2, "f": 0.3}
    store.write({
        "judges": [{"judge_id": "p", "model": "person:anna"}, {"judge_id": "j1", "model": "m"}],
        "verdicts": [rows.verdict(name, score=score) for name, score in scores.items()],
        "pairwise_verdicts": [
            said("p", "a", "b", "ba", "a"),  # as the scores have it
            said("p", "f", "e", "ab", "b"),  # the other way round
            said("p", "c", "d", "ab", "a"),  # the same score: not told apart
            said("p", "a", "c", "ab", "tie"),
            said("p", "b", "f", "ab", None, "refused"),
            said("p", "a", "x", "ab", "a"),  # never scored
        ],
    })  # fmt: skip
    (row,) = store.query("SELECT * FROM judge_agreement")
    assert (row["judge_a"], row["judge_b"], row["model_b"], row["n"]) == ("j1", "p", "person:anna", 6)
    assert (row["n_ordered"], row["same_order"]) == (2, 0.5)
    assert row["mean_difference"] is row["pearson"] is row["spearman"] is None
