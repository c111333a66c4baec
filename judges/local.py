"""A language model on this machine as judge, scored by its logits: no text is generated, so a mark costs one short
forward pass.

For each criterion the model reads the prompt and the start of a verdict, `{"completeness": `, and the probabilities it
gives to the marks 1-5 make the score: s = sum(k p(k)) / sum(p(k)), mapped to (s - 1) / 4. The mean of such a
distribution agrees better with people than its mode does (Wang et al. 2025, arXiv 2503.03064). Where the marks together
hold less than 0.8 of the probability, the model would say something else: then it is let speak, and its text is parsed
as any judge's.

An answer is read in more than one way, so that talk about it cannot raise a mark: see :mod:`judges.readings`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rlaif.quiet import quiet

from judges.fill import ASKING, Asked, fill_item, flat
from judges.parse import ANSWERS, Marks, parse_answer
from judges.readings import lowest, other_readings
from judges.rubric.local import LocalRubricJudge
from judges.shield import shield
from rlaif import embedded
from rlaif.models.generate import sample, window
from rlaif.models.logprobs import read_on
from rlaif.models.settings import settings_of
from rlaif.models.trees import can_plant, next_logits
from rlaif.prompts import JudgePrompt
from rlaif.render import encode, render
from rlaif.rubric import clipped, marked, points
from rlaif.types import JudgeIdentity, JudgeItem, RlaifError, UsageError, Verdict, content_id

with quiet():
    import torch
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


# A change of how scores are computed gets a new number, and so a new judge_id.
SCORING = "logits-2"
# Its text is read only where the marks hold too little of the probability. What judges.parse has learned to read since
# (thoughts, Markdown, nested marks) is how chat models write, and no shipped judge gets there: it stays the same judge.
FALL_BACK = "parse-1"
MIN_MASS = 0.8  # of the next token's probability on the marks
ANSWER_TOKENS = 120  # for a model that is let speak


@dataclass(frozen=True, slots=True)
class _Row:
    """One item, ready to be scored: its filled prompt, the tokens of it, and what it shares with the question's other
    answers.
    """

    index: int
    asked: Asked
    text: str
    ids: list[int]
    group: tuple[str, ...]


class LocalJudge:
    """Scores with `model`. `name` is for people; what counts for `judge_id` are the hash of the weights, that of the
    settings beside them (`settings_id`: chat template, tokenizer, configuration), the prompt and the way of scoring.

    Answers are read in trees, see :mod:`rlaif.models.trees`; where the model or the prompts' length does not allow it,
    `batch_size` together. Raises UsageError for a prompt that is not pointwise, a scale with marks
    above 9, and a tokenizer that writes a mark as more than one token.
    """

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
        low, high = prompt.scale
        if prompt.mode != "pointwise" or high > 9:
            raise UsageError(
                f"judge prompt {prompt.name!r}: a local judge needs mode pointwise and marks of one "
                "digit, such as scale 1-5"
            )
        self._model, self._tokenizer, self._prompt = model, tokenizer, prompt
        self._name, self._sha256, self._batch_size = name, weights_sha256, batch_size
        self._settings = {"settings": settings_id} if settings_id else {}
        self._starts = {c: self._encode(self._start(c)) for c in prompt.criteria}
        ids = [[self._mark(c, k) for k in range(low, high + 1)] for c in prompt.criteria]
        self._marks = torch.tensor(ids, device=model.device)  # (criteria, marks)
        longest = max(map(len, self._starts.values()))
        self._room = window(model) - longest

    @property
    def prompt(self) -> JudgePrompt:
        return self._prompt

    @property
    def identity(self) -> JudgeIdentity:
        decoding = {
            "scoring": SCORING,
            "asking": ASKING,
            "parse": FALL_BACK,
            "dtype": str(self._model.dtype).removeprefix("torch."),
        } | self._settings
        return JudgeIdentity(f"local:{self._name}", self._sha256, self._prompt.name, self._prompt.sha256, decoding)

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """One verdict an item, in order: "scored"; "unparsed" when neither marks nor text say a score; "failed" when it
        is too long.
        """
        again = [(i, other) for i, item in enumerate(items) for other in other_readings(self._shown(item))]
        verdicts = self._score([*items, *(other for _, other in again)])
        others: dict[int, list[Verdict]] = {}
        for (i, _), verdict in zip(again, verdicts[len(items) :], strict=True):
            others.setdefault(i, []).append(verdict)
        for i, found in others.items():
            verdicts[i] = lowest(verdicts[i], found)
        return verdicts[: len(items)]

    def _shown(self, item: JudgeItem) -> JudgeItem:
        """`item` with its answer's layout as the prompt shows it, so that layout makes no readings of its own."""
        return replace(item, answer=flat(shield(item.answer)[0])) if self._prompt.plain else item

    def _score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        judge_id = self.identity.judge_id
        verdicts: dict[int, Verdict] = {}
        rows = []
        for index, item in enumerate(items):
            row = self._row(index, item)
            if len(row.ids) > self._room:
                reason = f"the prompt has {len(row.ids)} tokens, the model reads {self._room}"
                verdicts[index] = Verdict(
                    item.candidate_id, judge_id, item.replicate, "failed", reason=reason, flags=row.asked.flags
                )
            else:
                rows.append(row)
        started = time.perf_counter()
        probabilities = self._read(rows)
        seconds = (time.perf_counter() - started) / max(len(rows), 1)
        for row, p in zip(rows, probabilities, strict=True):
            verdicts[row.index] = self._verdict(items[row.index], row, judge_id, p, seconds)
        return [verdicts[i] for i in range(len(items))]

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _start(self, criterion: str) -> str:
        return f'{{"{criterion}": ' + ('"' if self._prompt.yes_no else "")

    def _mark(self, criterion: str, number: int) -> int:
        start = self._starts[criterion]
        mark = ANSWERS[number] if self._prompt.yes_no else str(number)
        whole = self._encode(self._start(criterion) + mark)
        if whole[:-1] != start:
            raise UsageError(
                f"judge {self._name}: its tokenizer does not write the mark {mark} as one token; use it "
                "through an endpoint"
            )
        return whole[-1]

    def _row(self, index: int, item: JudgeItem) -> _Row:
        asked = fill_item(self._prompt, item)
        turns = [{"role": "system", "content": asked.system}] if asked.system.strip() else []
        turns.append({"role": "user", "content": asked.user})
        text = render(self._tokenizer, turns)
        ids = encode(self._tokenizer, text)
        return _Row(index, asked, text, ids, (item.question, item.context, item.reference, *item.key_points))

    def _batches(self, rows: Sequence[_Row]) -> list[list[list[_Row]]]:
        """Batches of groups of rows: a group is the answers to one question, whose common beginning is read once."""
        groups: dict[tuple[str, ...], list[_Row]] = {}
        for row in rows:
            groups.setdefault(row.group, []).append(row)
        ordered = sorted(groups.values(), key=lambda g: (-len(g[0].ids), g[0].index))  # by length: less padding
        batches: list[list[list[_Row]]] = [[]]
        for group in ordered:
            for start in range(0, len(group), self._batch_size):
                part = group[start : start + self._batch_size]
                if sum(map(len, batches[-1])) + len(part) > self._batch_size:
                    batches.append([])
                batches[-1].append(part)
        return [batch for batch in batches if batch]

    @torch.inference_mode()
    def _read(self, rows: Sequence[_Row]) -> torch.Tensor:
        """The probabilities of the marks, (rows, criteria, marks)."""
        starts, (criteria, marks) = list(self._starts.values()), self._marks.shape
        p = torch.zeros((len(rows), criteria, marks))
        texts = [row.ids + start for row in rows for start in starts]
        if can_plant(self._model, max(map(len, texts), default=0)):
            for which, logits in next_logits(self._model, texts):
                of = torch.tensor(which)
                picked = logits.float().softmax(-1).gather(1, self._marks[of % criteria])
                p[of // criteria, of % criteria] = picked.cpu()
            return p
        places = {row.index: n for n, row in enumerate(rows)}
        for groups in self._batches(rows):
            of = torch.tensor([places[row.index] for group in groups for row in group])
            for criterion, logits in enumerate(self._read_batch(groups)):
                p[of, criterion] = logits.float().softmax(-1)[:, self._marks[criterion]].cpu()
        return p

    def _read_batch(self, groups: Sequence[Sequence[_Row]]) -> Iterator[torch.Tensor]:
        """The logits behind each start of a verdict, (rows, vocabulary), where trees cannot be had: a cache holds what
        a group begins with, then the rows.
        """
        device = self._model.device
        shared = [_common(group) for group in groups]
        rows = [row for group in groups for row in group]
        owner = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=device)
        cache = DynamicCache(config=self._model.config)
        mask = torch.zeros((len(groups), 0), dtype=torch.long, device=device)
        _, mask = read_on(self._model, [group[0].ids[:n] for group, n in zip(groups, shared, strict=True)], mask, cache)
        cache.batch_select_indices(owner)
        _, mask = read_on(
            self._model, [row.ids[shared[int(g)] :] for row, g in zip(rows, owner, strict=True)], mask[owner], cache
        )
        for start in self._starts.values():
            logits, _ = read_on(self._model, [start] * len(rows), mask, cache)
            cache.crop(-len(start))  # the next criterion is asked for without this one
            yield logits[:, -1]

    def _verdict(
        self,
        item: JudgeItem,
        row: _Row,
        judge_id: str,
        p: torch.Tensor,
        seconds: float,
    ) -> Verdict:
        """The verdict by the probabilities `p` of the marks, (criteria, marks)."""
        low, high = self._prompt.scale
        mass = p.sum(-1)
        least = float(mass.min())
        means = ((p * torch.arange(low, high + 1)).sum(-1) / mass.clamp(min=1e-9)).tolist()
        marks = dict(zip(self._prompt.criteria, means, strict=True))
        common: dict[str, Any] = {"flags": row.asked.flags, "tokens_in": len(row.ids), "seconds": seconds}
        if least < MIN_MASS:
            started = time.perf_counter()
            text = self.speak([row.text])[0]
            common["seconds"] += time.perf_counter() - started
            parsed = parse_answer(text, self._prompt)
            if not isinstance(parsed, Marks):
                reason = f"the marks hold {least:.2f} of the probability, and the text has none: {parsed}"
                unparsed = Verdict(
                    item.candidate_id, judge_id, item.replicate, "unparsed", raw=text, reason=reason, **common
                )
                return marked(unparsed, self._prompt.criteria, self._prompt.weights, {})
            scores, overall, said, told = dict(parsed.criteria), parsed.score, text, parsed.rationale
        else:
            scores = {c: (mark - low) / (high - low) for c, mark in marks.items()}
            overall = clipped(points(self._prompt.weights, [scores[c] for c in self._prompt.criteria]) or 0.0)
            raw = zip(self._prompt.criteria, p.tolist(), strict=True)
            said = json.dumps({c: [round(x, 4) for x in each] for c, each in raw})
            told = "expected marks: " + ", ".join(f"{c} {mark:.2f}" for c, mark in marks.items()) + f" of {high}"
        verdict = Verdict(
            item.candidate_id,
            judge_id,
            item.replicate,
            "scored",
            round(overall, 6),
            factual_accuracy=_rounded(scores.get("factual_accuracy")),
            completeness=_rounded(scores.get("completeness")),
            key_point_coverage=_rounded(scores.get("key_point_coverage")),
            rationale=told,
            raw=said,
            **common,
        )
        return marked(verdict, self._prompt.criteria, self._prompt.weights, scores, told)

    def speak(self, prompts: Sequence[str]) -> list[str]:
        """What the model writes itself, greedily, after each prompt (chat template applied)."""
        return [
            g.text
            for g in sample(self._model, self._tokenizer, prompts, max_new_tokens=ANSWER_TOKENS, seed=0, greedy=True)
        ]


def load_local_judge(path: str, prompt: JudgePrompt) -> LocalJudge | LocalRubricJudge:
    """The judge in the folder `path`: 16/32-bit, GPTQ or NF4, loaded as bases are; "embedded" is the tiny one that
    ships. By rubrics, where the prompt is of that mode.

    Raises UsageError when there is no model in it, RlaifError when it cannot be loaded.
    """
    from rlaif.config import ModelConfig
    from rlaif.models.base import load_base

    folder = embedded.JUDGE if path == "embedded" else Path(path)
    try:
        loaded = load_base(ModelConfig(path=str(folder), threads=0))
    except RlaifError as error:
        raise type(error)(str(error).replace("model.path", "judge.model")) from error
    name = path if path == "embedded" else folder.name
    # "rope_theta" or a template changes what a model reads, and no hash of its weights.
    settings = content_id("settings", settings_of(folder))
    kind = LocalRubricJudge if prompt.mode == "rubric" else LocalJudge
    return kind(loaded.model, loaded.tokenizer, prompt, name=name, weights_sha256=loaded.sha256, settings_id=settings)


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)


def _common(rows: Sequence[_Row]) -> int:
    """How many leading tokens all rows share, at most all but one of the shortest."""
    shortest = min(len(row.ids) for row in rows) - 1
    first = rows[0].ids
    return next((n for n in range(shortest) if any(row.ids[n] != first[n] for row in rows)), shortest)
