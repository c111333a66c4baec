import pytest

from judges.pairwise import PairwiseVerdict
from rlaif.review.label import label, person
from rlaif.types import Candidate, Preference, UsageError


def typed(*lines):
    queue = [f"{line}\n" for line in lines]
    return lambda: queue.pop(0) if queue else ""


def rows(run, name="anna"):
    return run.store.query(
        'SELECT candidate_a, candidate_b, "order", winner, status FROM pairwise_verdicts WHERE judge_id '
        "= ? ORDER BY candidate_a",
        [person(name).judge_id],
    )


class Reader:
    """A person who reads the screen and names the answer that holds `better`, as A or B."""

    def __init__(self, screen, better):
        self.screen, self.better = screen, better

    def __call__(self):
        shown = self.screen.text().rsplit("--- Answer A ---", 1)[1]
        a, b = shown.split("--- Answer B ---")
        return "a\n" if any(f"answer {x} " in a for x in self.better) else "b\n"


def test_preferences_are_stored_for_the_candidates_whatever_the_order_shown(run, screen):
    counts = label(run, "anna", 20, None, screen, Reader(screen, "acf"))
    assert counts["a"] + counts["b"] == 3
    found = rows(run)
    assert [(r["candidate_a"], r["candidate_b"], r["winner"], r["status"]) for r in found] == [
        ("a", "b", "a", "scored"), ("c", "d", "a", "scored"), ("e", "f", "b", "scored"),
    ]  # fmt: skip
    assert {"model": "person:anna", "prompt_name": "label"} in run.store.query("SELECT model, prompt_name FROM judges")
    (row,) = run.store.query("SELECT * FROM judge_agreement")
    assert {row["model_a"], row["model_b"]} == {"person:anna", "model-one"}
    assert (row["n"], row["n_ordered"], row["same_order"]) == (6, 3, pytest.approx(2 / 3))
    assert row["spearman"] is row["mean_difference"] is None  # a person gives orders, not scores
    assert not run.store.query("SELECT * FROM verdicts WHERE judge_id = ?", [person("anna").judge_id])


def test_blind_and_escaped(run, screen):
    nasty = "\x1b[2Jfine [red]or[/red] not\n--- Answer B ---"
    extra = [
        Candidate(name, 1, "q1", "p", "s", 5, 0, 0, text, 9, "stop", -1.0, {})
        for name, text in (("x", nasty), ("y", ""))
    ]
    run.store.write(
        {"candidates": extra, "preferences": [Preference("p0", 1, "q1", "j1", "kept", "", "x", "y", 0.9, 0.2, 0.7)]}
    )
    label(run, "anna", 1, None, screen, typed("q"))
    text = screen.text()
    assert "\x1b" not in text and "[red]or[/red]" in text and "| --- Answer B ---" in text and "| (empty)" in text
    assert "Why q1?" in text and "leaflet q1" in text
    assert not any(word in text for word in ("0.9", "0.2", "model-one", "j1", "kept"))
    assert rows(run) == []


def test_kept_pairs_come_first_and_labelled_ones_never_again(run, screen):
    label(run, "anna", 1, None, screen, typed("a"))
    label(run, "anna", 1, None, screen, typed("tie"))
    assert {r["candidate_a"] for r in rows(run)} == {"a", "c"}
    assert label(run, "anna", 20, None, screen, typed("b"))["b"] == 1
    with pytest.raises(UsageError, match="no pair that person:anna has not labelled"):
        label(run, "anna", 20, None, screen, typed("a"))
    assert label(run, "bert", 20, 1, screen, typed("a", "q"))["a"] == 1
    with pytest.raises(UsageError, match="round 2 has no pair"):
        label(run, "bert", 20, 2, screen, typed("a"))


def test_each_answer_is_stored_at_once_and_nonsense_is_asked_again(run, screen):
    answers = ["what\n", "A\n"]

    def ask():
        if answers:
            return answers.pop(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(run, "anna", 20, None, screen, ask)
    assert len(rows(run)) == 1 and "'what' is none of them" in screen.text()


def test_a_skipped_pair_comes_last(run, screen):
    assert label(run, "anna", 1, None, screen, typed("skip"))["skip"] == 1
    ((_, _, _, winner, status),) = [tuple(r.values()) for r in rows(run)]
    assert (winner, status) == (None, "refused")
    label(run, "anna", 20, None, screen, typed("tie", "tie", "a"))
    assert [r["status"] for r in rows(run)] == ["scored"] * 3
    assert sorted(r["winner"] != "tie" for r in rows(run)) == [False, False, True]


@pytest.mark.parametrize("name", ["", "  ", "an\x1b[2Jna", "x" * 81])
def test_a_person_needs_a_name(name):
    with pytest.raises(UsageError, match="--name"):
        person(name)
    assert person(" anna  b ").model == "person:anna b"


def test_a_pairwise_judge_and_a_person_agree_pair_by_pair(run):
    def both(judge, a, b, one, two):
        return [PairwiseVerdict(judge, a, b, "ab", one, "scored"), PairwiseVerdict(judge, a, b, "ba", two, "scored")]

    run.store.write({"pairwise_verdicts": [
        *both("k", "a", "b", "a", "a"), *both("k", "d", "c", "b", "b"), *both("k", "e", "f", "a", "b"),
        PairwiseVerdict("m", "b", "a", "ab", "b", "scored"), PairwiseVerdict("m", "c", "d", "ba", "b", "scored"),
        PairwiseVerdict("m", "e", "f", "ab", "b", "scored"),
    ]})  # fmt: skip
    (row,) = run.store.query(
        "SELECT n, n_ordered, same_order FROM judge_agreement WHERE judge_a = 'k' AND judge_b = 'm'"
    )
    # both say a > b; of c and d they differ; e and f are a tie for k, because its winner turns with the order
    assert tuple(row.values()) == (6, 2, 0.5)
