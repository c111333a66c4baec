from types import SimpleNamespace

from rlaif.report.data import read
from rlaif.report.verdict import verdict
from rlaif.types import Decision
from stores.store import Store


def test_before_anything_happened(store: Store) -> None:
    found = verdict(read(store))
    assert (found.headline, found.finished, found.steps) == ("Nothing has been measured yet", False, ())
    assert found.state == "Stopped before round 0, no session was recorded."


def test_the_base_alone(store: Store, rows: SimpleNamespace) -> None:
    rows.write_base(store)
    found = verdict(read(store))
    assert found.headline == "The gate has not decided yet"
    assert [s.result for s in found.steps] == ["undecided"]
    assert found.state == "Stopped in round 0, the last session was killed."


def test_what_was_promoted_and_by_how_much(finished: Store) -> None:
    found = verdict(read(finished))
    assert found.headline == "SFT was promoted"
    assert found.summary.endswith(
        "Champion: the SFT policy. No round of preference training was shown to be better than it."
    )
    assert found.finished
    assert (
        found.steps[0].sentence
        == "Better than base: token F1 0.500 → 0.600, +0.100 (95% interval +0.020 to +0.180, n = 40). "
        "Only high gains are promoted; allowing for that, it is about 0.000 of token F1."
    )
    assert found.steps[1].sentence == (
        "Not shown to be better than SFT: token F1 0.600 → 0.595, −0.005 (95% interval −0.030 to +0.020, n = 40); "
        "accuracy 0.600, the same on each of 40 items."
    )
    assert found.warnings == ()


def test_how_many_items_would_tell_is_said_only_where_that_means_something(finished: Store) -> None:
    """Round 1 lost: more items would settle nothing. With a gain they would, unless they are more than anybody has."""

    def sentence(delta: float, items: int) -> str:
        finished.execute(
            [
                ("UPDATE gates SET delta = ? WHERE round = 1 AND metric = 'token_f1'", [delta]),
                (
                    "UPDATE decisions SET evidence = json_object('policy_id', 'sft00000bb', 'items_needed', ?) "
                    "WHERE round = 1",
                    [items],
                ),
            ]
        )
        return verdict(read(finished)).steps[1].sentence

    assert "would settle it" not in sentence(-0.005, 900)
    assert sentence(0.004, 1_234).endswith("About 1,200 items would settle it.")
    assert "would settle it" not in sentence(0.00001, 13_612_365)


def test_nothing_was_promoted(store: Store, rows: SimpleNamespace) -> None:
    rows.write_base(store)
    row = {
        "round": 0,
        "champion_in": "base0000aa",
        "challenger": "s",
        "champion_out": "base0000aa",
        "decision": "REJECT",
    }
    store.write({"rounds": [row], "policies": [rows.policy("s", "sft", 0)]}, replace=["rounds"])
    found = verdict(read(store))
    assert found.headline == "Nothing was promoted"
    assert found.summary == "1 policy has met the gate, and none passed it: the base model is the champion."
    assert found.steps[0].sentence == "Nothing comparable was measured against base."


def test_a_gain_that_another_benchmark_held_up_is_called_a_gain(finished: Store) -> None:
    change = "UPDATE gates SET passed = true WHERE round = 1 AND condition = 'better' AND metric = 'token_f1'"
    finished.execute([(change, [])])
    row = finished.query("SELECT * FROM gates WHERE round = 1 LIMIT 1")[0]
    held_up = row | {"condition": "not_worse", "benchmark": "safety", "metric": "safety accuracy", "passed": False}
    finished.write({"gates": [held_up]})
    sentence = verdict(read(finished)).steps[1].sentence
    assert sentence.startswith("Better than SFT on token F1") and "held up by safety accuracy." in sentence


def test_a_champion_by_hand_is_called_one(finished: Store) -> None:
    finished.write({"decisions": [Decision(1, "manual", "PROMOTE", "it reads better", {"policy_id": "dpo10000cc"})]})
    found = verdict(read(finished))
    assert found.headline == "The champion was chosen by hand"
    assert "made the policy of round 1 champion" in found.summary


def test_a_failed_session_shows_no_folder(finished: Store, rows: SimpleNamespace) -> None:
    rows.end_session(finished, 1)
    found = verdict(read(finished))
    assert (found.finished, found.state) == (False, "Stopped after round 1, last exit code 1.")


def test_a_run_without_leak_check_is_warned_of(finished: Store) -> None:
    finished.execute([("UPDATE runs SET config = json_merge_patch(config, ?)", ['{"data.leaks": "off"}'])])
    (warning,) = verdict(read(finished)).warnings
    assert "data.leaks = off" in warning


def test_what_the_controller_took_back_is_said(finished: Store) -> None:
    finished.write(
        {
            "decisions": [
                Decision(1, "controller", "roll_back", "judge_up is red", {"settings": {}}),
                Decision(
                    1, "controller", "PROMOTE", "rolled back", {"policy_id": "base0000aa", "previous": "sft00000bb"}
                ),
                Decision(2, "controller", "stop", "3 rejections in a row", {"settings": {}}),
            ]
        }
    )
    found = verdict(read(finished))
    assert "After round 1 the controller took the last promotion back: judge_up is red." in found.warnings
    assert "After round 2 the controller stopped the loop: 3 rejections in a row." in found.warnings
    assert "the base model" in found.summary


def test_a_round_without_challenger(finished: Store) -> None:
    finished.write(
        {
            "rounds": [
                {"round": 2, "champion_in": "sft00000bb", "champion_out": "sft00000bb", "decision": "INCONCLUSIVE"}
            ]
        }
    )
    assert verdict(read(finished)).steps[2].sentence == "No challenger was made, so SFT stayed the champion."


def test_what_a_reader_has_to_know_first(finished: Store) -> None:
    monitors = [
        {"round": 1, "name": name, "value": 0.5, "threshold": "0.8..1.25", "red": red}
        for name, red in (("length", True), ("kl", False))
    ]
    finished.write(
        {
            "monitors": monitors,
            "leaks": [{"question_id": "q1", "kind": "exact", "matched": "p1", "similarity": 1.0}],
            "sealed_tests": [{"session_id": s, "round": 0, "policies": ["base0000aa"]} for s in ("s1", "s2")],
            "licences": [{"exam": "embedded", "judge_id": "j1", "passed": False, "n": 10}],
        }
    )
    finished.execute([("UPDATE runs SET sealed_opened_at_round = 0", [])])
    assert verdict(read(finished)).warnings == (
        "The sealed test was opened 2 times: only the first result is an honest one.",
        "The loop went on after the sealed test was opened at round 0: later champions have no untouched test.",
        "Red monitors in round 1: length.",
        "The leak check found 1 match between training and evaluation questions, and left one side of each out.",
        "Failed an exam for judges: reference.",
    )
