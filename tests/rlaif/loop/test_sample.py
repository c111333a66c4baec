"""Questions that a model cannot read with room for an answer are left out of a round, counted and said."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from rlaif.evals.medquad import greedy_answers
from rlaif.loop.sample import sample_round
from rlaif.models.base import Base, load_base
from rlaif.policies import load_policy
from rlaif.prompts import load_prompt
from rlaif.records import load_questions
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import Question, RlaifError

pytestmark = pytest.mark.slow  # samples with the embedded base

PROMPT = load_prompt("prompts/policy/answer.md")
SETTINGS = {"k": 2, "max_new_tokens": 8}


@pytest.fixture
def run(trained_run: Run, tmp_path: Path) -> Run:
    run = open_run(Path(shutil.copytree(trained_run.folder, tmp_path / "run")))
    sampling = run.config.sampling.model_copy(update=SETTINGS)
    return dataclasses.replace(run, config=run.config.model_copy(update={"sampling": sampling}))


@pytest.fixture(scope="module")
def base(trained_run: Run) -> Base:
    return load_base(trained_run.config.model)


def questions(run: Run) -> list[Question]:
    return load_questions(run, "split = 'train'", [])[:3]


def test_long_contexts_are_left_out_and_counted(run: Run, base: Base) -> None:
    first, second, third = questions(run)
    long = dataclasses.replace(second, context="fever " * 3000)
    said = io.StringIO()
    made = sample_round(
        run, base, "5f70000000000000", 2, [first, long, third], PROMPT, Screen(Console(file=said, width=200))
    )
    assert {c.question_id for c in made} == {first.question_id, third.question_id} and len(made) == 4
    assert "4 candidates, 2 questions x 2" in said.getvalue() and "; 1 question too long" in said.getvalue()
    assert (run.done(2, "sample") or {})["too_long"] == 1


def test_an_answer_of_the_configured_length_must_fit(run: Run, base: Base) -> None:
    """The window of the embedded base is 1,024 tokens: a prompt of 1,016 has room for 8, one of 1,017 has not."""
    from rlaif.render import answer_prompt, encode

    first, second, _ = questions(run)

    def of_length(question: Question, length: int) -> Question:
        words, length_now = 1, 0
        while length_now < length:
            made = dataclasses.replace(question, context=" a" * words)
            length_now = len(encode(base.tokenizer, answer_prompt(base.tokenizer, PROMPT, made)))
            words += 1
        assert length_now == length
        return made

    fits, not_quite = of_length(first, 1016), of_length(second, 1017)
    made = sample_round(
        run, base, "5f70000000000000", 2, [fits, not_quite], PROMPT, Screen(Console(file=io.StringIO()))
    )
    assert {c.question_id for c in made} == {first.question_id}
    assert (run.done(2, "sample") or {})["room"] == 8, "what the controller may raise the limit to"


def test_a_round_of_long_contexts_alone_stops_with_one_line(run: Run, base: Base) -> None:
    long = [dataclasses.replace(q, context="fever " * 3000) for q in questions(run)]
    with pytest.raises(RlaifError, match=r"round 2: each of 3 questions .* the 1,016 that leave room"):
        sample_round(run, base, "5f70000000000000", 2, long, PROMPT, Screen(Console(file=io.StringIO())))
    assert run.done(2, "sample") is None


def test_greedy_answers_come_in_batches_of_their_own_and_nothing_else_changes(run: Run, base: Base) -> None:
    plain = sample_round(run, base, "5f70000000000000", 2, questions(run), PROMPT, Screen(Console(file=io.StringIO())))
    pairs = run.config.pairs.model_copy(update={"against": "greedy"})
    both = dataclasses.replace(run, config=run.config.model_copy(update={"pairs": pairs}))
    said = io.StringIO()
    made = sample_round(both, base, "5f70000000000000", 3, questions(run), PROMPT, Screen(Console(file=said)))
    assert "9 candidates, 3 questions x 3" in said.getvalue()
    greedy = [c for c in made if c.greedy]
    assert [c.sample_index for c in greedy] == [2, 2, 2] and {c.batch for c in greedy} == {1}
    assert {c.batch for c in made if not c.greedy} == {0} and len(made) == 9 and len(plain) == 6
    assert all(c.sampling["temperature"] == 0 for c in greedy)
    answers = greedy_answers(
        load_policy(both, base, "5f70000000000000"), base.tokenizer, questions(run), PROMPT,
        both.config.evaluation.model_copy(update={"max_new_tokens": SETTINGS["max_new_tokens"]}),
    )  # fmt: skip
    assert [c.text for c in greedy] == [text for text, _ in answers], "what the gate reads"
