"""A language model on this machine as judge by rubrics: the probability of yes, read from its logits, for one criterion
at a time.

The model reads the prompt and the beginning of a reply, `Met:`, and says yes or no. The value of a criterion is
p(yes) / (p(yes) + p(no)). Where the two hold less than 0.8 of the probability, the model would say something else: then
it is let speak, and what it says is yes, no or nothing. As in :mod:`judges.local`, an answer is read in more than one
way, and the reading that helps it least counts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import ClassVar

from rlaif.quiet import quiet

import numpy as np

from judges.fill import ASKING
from judges.readings import other_readings
from judges.rubric.ask import NOTHING, RUBRIC, Said, parts, rubric_of, strictest, with_criteria
from rlaif.models.generate import sample, window
from rlaif.models.logprobs import choice_logprobs
from rlaif.prompts import JudgePrompt
from rlaif.render import encode, render
from rlaif.rubric import verdict_of
from rlaif.types import JudgeIdentity, JudgeItem, UsageError, Verdict

with quiet():
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# A change of how values are computed gets a new number, and so a new judge_id.
SCORING = "yes-no-1"
START = "Met:"  # what the reply begins with
CHOICES = (" yes", " Yes", " no", " No")  # the first two are yes
MIN_MASS = 0.8  # of the probability on them together
ANSWER_TOKENS = 8  # for a model that is let speak
_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


class LocalRubricJudge:
    """As :class:`judges.local.LocalJudge`, with a prompt of mode rubric. Raises UsageError for another one."""

    local: ClassVar[bool] = True
    chat: ClassVar[bool] = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompt: JudgePrompt,
        *,
        name: str,
        weights_sha256: str,
        settings_id: str = "",
        batch_size: int = 64,
    ) -> None:
        if prompt.mode != "rubric":
            raise UsageError(f"judge prompt {prompt.name!r}: a judge by rubrics needs mode rubric, not {prompt.mode}")
        self._model, self._tokenizer, self.prompt, self._batch_size = model, tokenizer, prompt, batch_size
        decoding = {
            "scoring": SCORING,
            "rubric": RUBRIC,
            "asking": ASKING,
            "dtype": str(model.dtype).removeprefix("torch."),
        } | ({"settings": settings_id} if settings_id else {})
        self.identity = JudgeIdentity(f"local:{name}", weights_sha256, prompt.name, prompt.sha256, decoding)
        self._room = window(model) - ANSWER_TOKENS

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """One verdict an item, in order: "scored" by the criteria that could be read; "failed" where there is nothing
        to judge by, or the prompt is too long; "unparsed" when the model says neither yes nor no.
        """
        started = time.perf_counter()
        readings = [[item, *other_readings(item)] if rubric_of(self.prompt, item) else [] for item in items]
        texts = [self._texts(reading) for of_item in readings for reading in of_item]
        said = iter(self._said([text for of_reading in texts for text in of_reading]))
        given = [[[next(said) for _ in self._texts(r)] for r in of_item] for of_item in readings]
        seconds = (time.perf_counter() - started) / max(len(items), 1)
        return [self._verdict(item, of_item, seconds) for item, of_item in zip(items, given, strict=True)]

    def _texts(self, item: JudgeItem) -> list[str]:
        """One prompt per criterion, in the order of the rubric, up to where yes or no follows."""
        by_place = {part.places[0]: part.asked for part in parts(self.prompt, item, 1)}
        found = []
        for _, asked in sorted(by_place.items()):
            turns = [{"role": "system", "content": asked.system}] if asked.system.strip() else []
            text = render(self._tokenizer, [*turns, {"role": "user", "content": asked.user}])
            found.append(type(text)(text + START))
        return found

    def _said(self, texts: Sequence[str]) -> list[Said]:
        lengths = [len(encode(self._tokenizer, text)) for text in texts]
        fit = [i for i, length in enumerate(lengths) if length <= self._room]
        found = {
            i: Said("failed", None, f"the prompt has {lengths[i]:,} tokens, the model reads {self._room:,}")
            for i in set(range(len(texts))) - set(fit)
        }
        if fit:
            p = np.exp(
                choice_logprobs(
                    self._model,
                    self._tokenizer,
                    [texts[i] for i in fit],
                    [CHOICES] * len(fit),
                    self._batch_size,
                    window(self._model),
                )
            )
            for i, row in zip(fit, p, strict=True):
                mass = float(row.sum())
                if mass >= MIN_MASS:
                    value = float(row[:2].sum()) / mass
                    found[i] = Said("scored", round(value, 4), f"p(yes) {value:.2f}")
                else:
                    found[i] = self._spoken(texts[i], mass)
        return [found[i] for i in range(len(texts))]

    def _spoken(self, text: str, mass: float) -> Said:
        (reply,) = sample(self._model, self._tokenizer, [text], max_new_tokens=ANSWER_TOKENS, seed=0, greedy=True)
        if word := _WORD.match(reply.text):
            return Said("scored", float(word[1].lower() == "yes"), f"it wrote {reply.text.strip()[:60]!r}")
        return Said(
            "unparsed", None, f"yes and no hold {mass:.2f} of the probability, and it wrote {reply.text.strip()[:60]!r}"
        )

    def _verdict(self, item: JudgeItem, given: Sequence[Sequence[Said]], seconds: float) -> Verdict:
        judge_id = self.identity.judge_id
        if not given:
            return Verdict(item.candidate_id, judge_id, item.replicate, "failed", reason=NOTHING, attempts=0)
        asked = parts(self.prompt, item, 1)
        verdict = Verdict(
            item.candidate_id, judge_id, item.replicate, "unparsed", flags=asked[0].asked.flags, seconds=seconds,
            tokens_in=sum(len(encode(self._tokenizer, text)) for text in self._texts(item)),
        )  # fmt: skip
        whole, *others = given
        said = [
            strictest(one, [other[place] for other in others], criterion.weight)
            for place, (one, criterion) in enumerate(zip(whole, rubric_of(self.prompt, item), strict=True))
        ]
        return verdict_of(verdict, with_criteria(self.prompt, item, verdict, said))
