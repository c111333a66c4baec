"""The vocabulary of the whole project: small frozen values, no behaviour beyond their own algebra.

Every id is a content hash (see :func:`content_id`): the same inputs give the same id in every run and on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

LABELS = ("yes", "no", "maybe")  # what a labelled question, as PubMedQA's, is answered with
Split = Literal["train", "gate", "sealed"]
VerdictStatus = Literal["scored", "unparsed", "failed", "refused"]
Action = Literal["PROMOTE", "REJECT", "INCONCLUSIVE"]


class RlaifError(Exception):
    """An error a person can act on: one line that says what was wrong, where, and what to do. Exit code 1."""

    exit_code = 1


class UsageError(RlaifError):
    """Wrong usage or configuration. Exit code 2."""

    exit_code = 2


class DataError(UsageError):
    """An input file that cannot be used: says the file, the line or key, what was found and what is needed. Exit code
    2.
    """


def content_id(*parts: Any) -> str:
    """The first 16 hex digits of the SHA-256 of `parts` written as canonical JSON (sorted keys, no blanks)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


NO_COLUMN = {"column": False}  # metadata of a field that is no column of its table: stores.rows leaves it out


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that an answer is checked for. `weight` is its points: below 0 for a fault, where being met is bad.

    `category` groups criteria ("axis:accuracy", "Essential"); `source` says where it comes from ("prompt", a data set,
    "key_points").
    """

    text: str
    weight: float = 1.0
    category: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a data set, with all that is known about its right answer.

    `context` is text the policy may read (an abstract, a leaflet); `reference` one good answer; `key_points` what a
    complete answer names (empty where the data set has none); `label` is yes/no/maybe for PubMedQA, else empty. A
    labelled question with options of its own has them in `key_points`: see :func:`rlaif.render.options`.
    Questions of one `group_id` never stand on two sides of a split, and the statistics cluster by it.
    `turns` are the messages of a conversation, (role, text), the last one the user's; then `question` is all of them as
    one text. Empty for a question alone. `rubric` is what an answer to this very question is checked for; its rows
    stand in the table `rubrics`.
    """

    question_id: str
    dataset: str
    split: Split
    source_id: str
    group_id: str
    question: str
    context: str = ""
    reference: str = ""
    key_points: tuple[str, ...] = ()
    label: str = ""
    focus: str = ""
    qtype: str = ""
    flags: tuple[str, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    rubric: tuple[Criterion, ...] = field(default=(), metadata=NO_COLUMN)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled answer. `logprob` is the sum over its tokens in nats, under the sampling policy at temperature 1.

    `finish_reason` "cut" is never sampled: `rlaif.judging.cut` makes it, with `text` and `n_tokens` of what is left.
    "thought" says that the limit came before the thoughts ended, so that there is no answer. `thoughts` and their
    `thought_tokens` are kept beside `text` and `n_tokens`, which hold the answer alone; `logprob` is over both.
    """

    candidate_id: str
    round: int
    question_id: str
    policy_id: str
    prompt_sha256: str
    sample_index: int
    batch: int
    seed: int
    text: str
    n_tokens: int
    finish_reason: Literal["stop", "length", "cut", "thought"]
    logprob: float
    sampling: Mapping[str, Any]
    thoughts: str = ""
    thought_tokens: int = 0

    @property
    def greedy(self) -> bool:
        """Whether it is the likeliest continuation, token by token, and not sampled."""
        return self.sampling.get("temperature") == 0


@dataclass(frozen=True, slots=True)
class JudgeIdentity:
    """Who judged: everything that can change a score, and the hash over it (`judge_id`).

    A model whose weights are known is told by their hash, whatever its folder is called.
    """

    model: str
    weights_sha256: str
    prompt_name: str
    prompt_sha256: str
    decoding: Mapping[str, Any]

    @property
    def judge_id(self) -> str:
        return content_id(
            "" if self.weights_sha256 else self.model, self.weights_sha256, self.prompt_sha256, dict(self.decoding)
        )


@dataclass(frozen=True, slots=True)
class JudgeItem:
    """What a judge sees of one candidate answer."""

    candidate_id: str
    question: str
    answer: str
    reference: str = ""
    context: str = ""
    key_points: tuple[str, ...] = ()
    replicate: int = 0
    rubric: tuple[Criterion, ...] = ()


@dataclass(frozen=True, slots=True)
class CriterionVerdict:
    """What a judge says of one answer and one criterion, a row of `criterion_verdicts`.

    `place` is the criterion's place in what was asked, from 0. `value` is in 0-1: 1 is met (also for a fault, which has
    a weight below 0), between them a mark on a scale or a probability; None unless `status` is "scored". `reason` is
    the judge's reason or quote, or why there is no value.
    """

    candidate_id: str
    judge_id: str
    replicate: int
    place: int
    criterion: str
    weight: float
    category: str
    source: str
    status: VerdictStatus
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement. Scores are in 0-1; all four are None unless `status` is "scored", and then `reason` says why.

    `criteria` is what the score is made of, where the judge tells it; `judged_weight` the share of their weight (0-1)
    that was judged, None where nothing is known of it.
    """

    candidate_id: str
    judge_id: str
    replicate: int
    status: VerdictStatus
    score: float | None = None
    factual_accuracy: float | None = None
    completeness: float | None = None
    key_point_coverage: float | None = None
    rationale: str = ""
    raw: str = ""
    reason: str = ""
    flags: tuple[str, ...] = ()
    attempts: int = 1
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    judged_weight: float | None = None
    criteria: tuple[CriterionVerdict, ...] = field(default=(), compare=False, metadata=NO_COLUMN)


class Judge(Protocol):
    """Scores answers. Takes a list, returns one verdict per item in the same order, keeps no state between calls.

    `local`: it works on this machine and costs nothing, so it may be asked without being announced. `chat`: it asks a
    chat model, and has the endpoint, the prompt and the forecast of `judges.llm.LangChainJudge`.
    """

    @property
    def identity(self) -> JudgeIdentity: ...

    @property
    def local(self) -> bool: ...

    @property
    def chat(self) -> bool: ...

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]: ...


@dataclass(frozen=True, slots=True)
class Preference:
    """A pair made of one question's candidates, kept for training or dropped with a reason.

    `chosen_id` and `rejected_id` are None where no pair could be made at all (fewer than two scored candidates).
    """

    pair_id: str
    round: int
    question_id: str
    judge_id: str
    status: Literal["kept", "dropped"]
    reason: str = ""
    chosen_id: str | None = None
    rejected_id: str | None = None
    chosen_score: float | None = None
    rejected_score: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class EvalItem:
    """One metric of one policy on one benchmark item. `value` is None (with a reason) when it could not be measured."""

    policy_id: str
    benchmark: str
    split: str
    item_id: str
    metric: str
    prediction: str
    target: str
    value: float | None
    status: Literal["scored", "unparsed", "failed"] = "scored"
    reason: str = ""
    judge_id: str = ""
    protocol_hash: str = ""
    data_sha256: str = ""

    @classmethod
    def of(cls, question: Question, metric: str, prediction: str, value: float | None, **more: Any) -> EvalItem:
        """A row about `question`, whose label, or else reference, is the target; `more` are the other fields."""
        return cls(
            benchmark=question.dataset,
            split=question.split,
            item_id=question.question_id,
            metric=metric,
            prediction=prediction,
            target=question.label or question.reference,
            value=value,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What the controller did after a round, by which rule, on what evidence."""

    round: int
    kind: str
    action: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
