"""Any chat model that LangChain knows as a judge by rubrics: some criteria a call, each answered with yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from judges.engine import Job, Result
from judges.llm import LangChainJudge
from judges.parse import PARSE
from judges.rubric.ask import NOTHING, RUBRIC, Part, Said, parts, rubric_of, with_criteria
from judges.rubric.parse import read_all, read_some, schema, wanted
from rlaif.prompts import Mode
from rlaif.rubric import verdict_of
from rlaif.types import JudgeItem, Verdict, content_id
from stores.cache import Usage


class RubricChatJudge(LangChainJudge):
    """As :class:`judges.llm.LangChainJudge`, with a prompt of mode rubric. A call that came to nothing leaves its
    criteria without a value; the score is that of the others (`rlaif.rubric.verdict_of`).
    """

    modes: ClassVar[tuple[Mode, ...]] = ("rubric",)
    reading: ClassVar[Mapping[str, str]] = {"parse": PARSE, "rubric": RUBRIC}
    nothing: ClassVar[str] = NOTHING

    def _can_judge(self, item: JudgeItem) -> bool:
        return bool(rubric_of(self.prompt, item))

    def _parts(self, item: JudgeItem) -> list[Part]:
        return parts(self.prompt, item, self.prompt.per_call)

    def _jobs(self, item: JudgeItem) -> list[Job]:
        return [
            Job(
                content_id(part.asked.user, part.asked.nonce, item.replicate),
                part.asked,
                schema(len(part.places)),
                wanted(len(part.places)),
                partial(read_all, n=len(part.places)),
                partial(read_some, n=len(part.places)),
            )
            for part in self._parts(item)
        ]

    def _marked(self, item: JudgeItem, results: Sequence[Result]) -> Verdict:
        said: dict[int, Said] = {}
        asked = self._parts(item)
        for part, result in zip(asked, results, strict=True):
            for number, place in enumerate(part.places):
                said[place] = _said(result, number)
        used = sum((r.used for r in results), Usage())
        verdict = Verdict(
            item.candidate_id,
            self.identity.judge_id,
            item.replicate,
            "unparsed",
            raw="\n--- next call ---\n".join(r.raw for r in results),
            reason="not read yet",
            flags=asked[0].asked.flags,
            attempts=used.calls,
            tokens_in=used.tokens_in,
            tokens_out=used.tokens_out,
            cost=used.cost,
            seconds=sum(r.seconds for r in results),
        )
        rows = with_criteria(self.prompt, item, verdict, [said[place] for place in range(len(said))])
        return verdict_of(replace(verdict, reason=""), rows)

    def _probed(self, result: Result) -> object:
        return [one and one[0] for one in result.value] if result.value else super()._probed(result)


def _said(result: Result, number: int) -> Said:
    if result.status != "scored":
        return Said(result.status, None, result.reason)
    one = result.value[number]
    return Said("scored", float(one[0]), one[1]) if one else Said("unparsed", None, "the reply says nothing of it")
