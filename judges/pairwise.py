"""Pairwise judging: which of two answers is better, asked in both orders, with ties.

Judges favour what they see first or second (swap consistency of GPT-4 is about 65% on MT-Bench; Zheng et al. 2023,
arXiv 2306.05685, section 4.2), so an answer wins only if it wins in both orders; anything else is a tie.

    judge = PairwiseJudge("openai:gpt-4o-mini", JudgeSettings(prompt=load_judge_prompt("prompts/judge/pairwise.md")))
    verdicts = judge.compare([(item_a, item_b), ...])     # two verdicts a pair
    outcome(verdicts[0], verdicts[1])                     # "a", "b", "tie", or None where one of them is no answer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from judges.chat_models import served
from judges.engine import Engine, Job, Result
from judges.fill import ASKING, content_hash, fill_pairwise
from judges.parse import PARSE, parse_winner, schema, wanted
from judges.settings import Cache, JudgeSettings
from rlaif.types import JudgeIdentity, JudgeItem, RlaifError, UsageError, VerdictStatus, content_id

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


Winner = Literal["a", "b", "tie"]
Order = Literal["ab", "ba"]
Pair = tuple[JudgeItem, JudgeItem]
ORDERS: tuple[Order, Order] = ("ab", "ba")
OTHER: Mapping[Any, Any] = {"a": "b", "b": "a", "tie": "tie", "ab": "ba", "ba": "ab", None: None}


@dataclass(frozen=True, slots=True)
class PairwiseVerdict:
    """One answer to "which is better?", a row of `pairwise_verdicts`.

    `order` "ab": candidate_a was shown first. `winner` names a candidate, not a place; None unless `status` is
    "scored", and then `reason` says why.
    """

    judge_id: str
    candidate_a: str
    candidate_b: str
    order: Order
    winner: Winner | None
    status: VerdictStatus
    reason: str = ""

    def swap(self) -> PairwiseVerdict:
        """The same statement with the candidates' names exchanged; a tie stays a tie, and twice is the identity."""
        return replace(
            self,
            candidate_a=self.candidate_b,
            candidate_b=self.candidate_a,
            order=OTHER[self.order],
            winner=OTHER[self.winner],
        )


def outcome(one: PairwiseVerdict, two: PairwiseVerdict) -> Winner | None:
    """What two verdicts on one pair, one of each order, say together, in the names of `one`; None where one of them has
    no winner.

    Raises RlaifError if they are not one pair in both orders by one judge.
    """
    if one.candidate_a != two.candidate_a:
        two = two.swap()
    same = (one.judge_id, one.candidate_a, one.candidate_b) == (two.judge_id, two.candidate_a, two.candidate_b)
    if not same or one.order == two.order:
        raise RlaifError(
            f"not one pair in both orders: {one.candidate_a}/{one.candidate_b} and {two.candidate_a}/{two.candidate_b}"
        )
    if one.winner is None or two.winner is None:
        return None
    return one.winner if one.winner == two.winner else "tie"


class PairwiseStopped(RlaifError):
    """The judge cannot go on (budget, endpoint, key). `verdicts` are those of the pairs that were answered in both
    orders.
    """

    def __init__(self, message: str, verdicts: Sequence[PairwiseVerdict]) -> None:
        super().__init__(message)
        self.verdicts = tuple(verdicts)


class PairwiseJudge:
    """Asks a language model, with the retries, ladder, cache and budget of judges.engine.

    `chat_model` takes the place of the one that `model` names (tests). Raises UsageError for a model that cannot be
    made and for settings without a pairwise prompt.
    """

    def __init__(
        self, model: str, settings: JudgeSettings, cache: Cache | None = None, chat_model: BaseChatModel | None = None
    ) -> None:
        if settings.prompt is None or settings.prompt.mode != "pairwise":
            found = "none" if settings.prompt is None else f"{settings.prompt.name!r}, which is {settings.prompt.mode}"
            raise UsageError(
                f"a pairwise judge needs a prompt with 'mode: pairwise', got {found}; see prompts/judge/pairwise.md"
            )
        self.prompt, self.settings = settings.prompt, settings
        place = served(model, settings, chat_model)
        self.endpoint = place.endpoint
        decoding = {
            "kind": "pairwise", "temperature": settings.temperature, "max_new_tokens": settings.max_new_tokens,
            "asking": ASKING, "parse": PARSE,
        }  # fmt: skip
        self.identity = JudgeIdentity(place.model, "", self.prompt.name, self.prompt.sha256, decoding)
        self._engine = Engine(place, self.identity.judge_id, settings, cache)

    def compare(self, pairs: Sequence[Pair]) -> list[PairwiseVerdict]:
        """Two verdicts a pair, orders "ab" then "ba", pairs in the given order. Raises PairwiseStopped."""
        jobs = [self._job(*(pair if order == "ab" else pair[::-1])) for pair in pairs for order in ORDERS]
        results, why = self._engine.run(jobs)
        verdicts: list[PairwiseVerdict] = []
        for number, (a, b) in enumerate(pairs):
            both = results[2 * number : 2 * number + 2]
            answered = [self._verdict(a, b, order, r) for order, r in zip(ORDERS, both, strict=True) if r is not None]
            verdicts += answered if len(answered) == len(ORDERS) else []
        if why:
            raise PairwiseStopped(why, verdicts)
        return verdicts

    def _job(self, first: JudgeItem, second: JudgeItem) -> Job:
        content = content_id(content_hash(first), content_hash(second))
        return Job(
            content, fill_pairwise(self.prompt, first, second), schema(self.prompt), wanted(self.prompt), parse_winner
        )

    def _verdict(self, a: JudgeItem, b: JudgeItem, order: Order, result: Result) -> PairwiseVerdict:
        winner: Winner | None = None
        if result.status == "scored":
            shown = result.value[0]  # "a" is what was shown as A
            winner = shown if order == "ab" else OTHER[shown]
        return PairwiseVerdict(
            self.identity.judge_id, a.candidate_id, b.candidate_id, order, winner, result.status, result.reason
        )
