import pytest

from judges.jury import Jury
from judges.scripted import ScriptedJudge
from judges.settings import JudgeStopped
from rlaif.types import JudgeIdentity, JudgeItem, UsageError, Verdict

ITEMS = [JudgeItem("c1", "Why?", "one"), JudgeItem("c2", "Why?", "two")]
HIGH = ScriptedJudge({"c1": 0.8, "c2": 0.6}, name="high")
LOW = ScriptedJudge({"c1": 0.2, "c2": 0.5}, name="low")


def test_the_mean_of_the_members_and_their_own_verdicts():
    jury = Jury((HIGH, LOW))
    given = jury.score_all(ITEMS)
    assert list(given) == [jury.identity.judge_id, HIGH.identity.judge_id, LOW.identity.judge_id]
    assert [v.score for v in given[jury.identity.judge_id]] == pytest.approx([0.5, 0.55])
    assert given[HIGH.identity.judge_id] == HIGH.score(ITEMS)
    assert jury.score(ITEMS) == given[jury.identity.judge_id]
    assert given[jury.identity.judge_id][0].rationale == "high: 0.80; low: 0.20"


def test_identity_depends_on_who_is_in_it_and_not_on_the_order():
    assert Jury((HIGH, LOW)).identity.judge_id == Jury((LOW, HIGH)).identity.judge_id
    assert Jury((HIGH, LOW)).identity.judge_id != Jury((HIGH, ScriptedJudge({}, name="third"))).identity.judge_id


@pytest.mark.parametrize(
    ("first", "second", "status", "named"),
    [
        (ScriptedJudge({}, failed={"c1"}, name="f"), HIGH, "failed", "f"),
        (ScriptedJudge({}, unparsed={"c1"}, name="u"), ScriptedJudge({}, failed={"c1"}, name="f"), "failed", "f"),
        (HIGH, ScriptedJudge({}, unparsed={"c1"}, name="u"), "unparsed", "u"),
    ],
)
def test_one_member_without_a_score_leaves_the_jury_without_one(first, second, status, named):
    (verdict,) = Jury((first, second)).score(ITEMS[:1])
    assert (verdict.status, verdict.score, verdict.factual_accuracy) == (status, None, None)
    assert verdict.reason.startswith(f"jury member {named} ")


class NoCriteria:
    identity = JudgeIdentity("overall", "", "none", "", {})

    def score(self, items):
        return [
            Verdict(i.candidate_id, self.identity.judge_id, i.replicate, "scored", 0.4, flags=("odd",)) for i in items
        ]


def test_a_criterion_that_not_all_members_score_is_none_and_flags_are_kept():
    verdict = Jury((HIGH, NoCriteria())).score(ITEMS)[0]
    assert (verdict.score, verdict.factual_accuracy, verdict.flags) == (pytest.approx(0.6), None, ("odd",))


def test_a_member_that_stops_loses_nothing_of_the_others():
    class Stops(NoCriteria):
        def score(self, items):
            raise JudgeStopped("budget", super().score(items[:1]))

    with pytest.raises(JudgeStopped, match="budget") as stopped:
        Jury((HIGH, Stops())).score(ITEMS)
    assert [(v.judge_id, v.candidate_id) for v in stopped.value.verdicts] == [
        (HIGH.identity.judge_id, "c1"), (HIGH.identity.judge_id, "c2"), (Stops.identity.judge_id, "c1"),
    ]  # fmt: skip


@pytest.mark.parametrize(("members", "why"), [((HIGH,), "at least two"), ((HIGH, LOW, HIGH), "'high' twice")])
def test_no_jury(members, why):
    with pytest.raises(UsageError, match=why):
        Jury(members)
