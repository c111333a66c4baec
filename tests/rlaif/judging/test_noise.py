"""The noise of a judge: what it is taken from, and what it costs."""

import itertools
import math
from dataclasses import replace

import pytest

from judges.jury import Jury
from judges.llm import LangChainJudge
from judges.reference import ReferenceJudge
from judges.settings import Budget, JudgeSettings, JudgeStopped
from rlaif.config import Config
from rlaif.judging.noise import DETERMINISTIC, UNMEASURED, known_noise, measure_noise, pooled
from rlaif.judging.stage import judge_round
from rlaif.records import load_candidates, load_questions, load_verdicts
from rlaif.types import RlaifError, Verdict
from stores.cache import AnswerCache


def test_scores_vary_about_their_answers_mean():
    # squares .02 (of .4 and .6) and .02, two degrees of freedom
    assert pooled([[0.4, 0.6], [0.9, 0.7], [0.1]]) == pytest.approx(math.sqrt(0.04 / 2))
    assert pooled([[0.4, 0.5, 0.6]]) == pytest.approx(0.1)
    assert pooled([[0.5, 0.5]]) == 0.0
    assert pooled([[0.4], []]) is None


def marked(mark):
    return f'{{"rationale": "r", "factual_accuracy": {mark}, "completeness": {mark}, "key_point_coverage": {mark}}}'


@pytest.fixture
def asked(judged_run, fake_chat_model, screen):
    """A run whose six answers a chat model has judged, and what measures its noise with `noise_sample` answers."""

    class Asked:
        def __init__(self):
            self.marks = itertools.repeat(4)
            self.chat = fake_chat_model(lambda prompt: marked(next(self.marks)))
            self.run = judged_run
            self.questions, self.candidates = load_questions(judged_run, "true", []), load_candidates(judged_run, 1)
            judge_round(judged_run, self.judge(), 1, self.questions, self.candidates, screen)

        def judge(self, **settings):
            settings = JudgeSettings(**{"backoff": 0, "retries": 0, "concurrency": 1, "temperature": 0.7} | settings)
            return LangChainJudge("fake", settings, AnswerCache(self.run.store), chat_model=self.chat)

        def noise(self, sample, judge=None, round=1):
            config = Config.model_validate({"pairs": {"noise_sample": sample}})
            run = replace(self.run, config=config)
            candidates = [replace(c, round=round) for c in self.candidates]
            return measure_noise(run, judge or self.judge(), round, self.questions, candidates, screen)

    return Asked()


def test_a_deterministic_judge_has_none_and_is_not_asked(judged_run, screen):
    noise = measure_noise(judged_run, ReferenceJudge(), 1, [], load_candidates(judged_run, 1), screen)
    assert (noise.sem, noise.origin, noise.judged) == (0.0, DETERMINISTIC, 0)


def test_nothing_is_asked_unless_that_is_set(asked):
    before = len(asked.chat.prompts)
    assert asked.noise(0) == known_noise(asked.run, asked.judge())
    assert asked.noise(0).origin == UNMEASURED and len(asked.chat.prompts) == before


def test_a_sample_is_judged_again_and_the_cache_does_not_answer_for_it(asked):
    asked.marks, before = itertools.cycle([5, 3]), len(asked.chat.prompts)
    noise = asked.noise(4)
    assert len(asked.chat.prompts) == before + 4 and noise.judged == 4
    # each mark is one off 4 of 1-5, which is .25: squares .125 ** 2 * 2 per answer, one degree of freedom each
    assert noise.sem == pytest.approx(0.25 / math.sqrt(2))
    assert noise.origin == "measured, answers judged twice: 4"
    verdicts = load_verdicts(asked.run, 1, asked.judge().identity.judge_id)
    assert sorted(v.replicate for v in verdicts) == [0] * 6 + [1] * 4
    assert {v.score for v in verdicts if v.replicate} == {1.0, 0.5}


def test_a_run_measures_it_once_and_goes_on_where_it_stopped(asked):
    with pytest.raises(JudgeStopped, match="max_calls"):
        asked.noise(4, asked.judge(budget=Budget(calls=8)))  # six were used before
    before = len(asked.chat.prompts)
    first = asked.noise(4)
    assert len(asked.chat.prompts) == before + 2
    assert asked.noise(4) == replace(first, judged=0)
    later = asked.noise(4, round=2)
    assert (later.sem, later.judged, len(asked.chat.prompts)) == (first.sem, 0, before + 2)


def test_stored_replicates_are_enough(asked):
    judge_id = asked.judge().identity.judge_id
    asked.run.store.write({"verdicts": [Verdict("a", judge_id, 1, "scored", 0.95)]})
    noise = asked.noise(0)
    assert noise.sem == pytest.approx(0.2 / math.sqrt(2)) and noise.origin.endswith("twice: 1")


def test_a_jury_is_judged_again_as_a_whole(judged_run, fake_chat_model, screen):
    chat = fake_chat_model(lambda prompt: marked(4))
    settings = JudgeSettings(backoff=0, retries=0, concurrency=1)
    jury = Jury((ReferenceJudge(), LangChainJudge("fake", settings, AnswerCache(judged_run.store), chat_model=chat)))
    questions, candidates = load_questions(judged_run, "true", []), load_candidates(judged_run, 1)
    judge_round(judged_run, jury, 1, questions, candidates, screen)
    run = replace(judged_run, config=Config.model_validate({"pairs": {"noise_sample": 3}}))
    noise = measure_noise(run, jury, 1, questions, candidates, screen)
    assert (noise.sem, noise.judged) == (0.0, 3)  # both said the same again
    again = judged_run.store.query("SELECT judge_id, count(*) AS n FROM verdicts WHERE replicate = 1 GROUP BY ALL")
    assert [row["n"] for row in again] == [3, 3, 3]


def test_a_judge_that_no_longer_answers_in_marks_leaves_the_noise_unknown(asked):
    asked.marks = itertools.repeat('"none"')
    with pytest.raises(RlaifError, match="none of 4 answers got a second score"):
        asked.noise(4)
