"""The exam over preferences that a data set was published with: in each pair the chosen answer is the good one.

A judge sees the two answers without a reference, because the set has none but the chosen answer itself.
"""

from __future__ import annotations

from rlaif.config import Config
from rlaif.config_data import DataSet
from rlaif.data.sets import load_set, normal
from rlaif.data.ultramedical import Pair, load_pairs
from rlaif.exam.items import Exam, ExamItem, judge_item
from rlaif.exam.sources import MIN_QUESTIONS
from rlaif.types import Question

PUBLISHED, FORMAT = "published", "ultramedical-preference"
ITEMS = 500  # two answers each


def preferences(config: Config) -> tuple[int, DataSet] | None:
    """The number in `data.sets` of the first set of published preferences, and the set; None without one."""
    return next(((n, spec) for n, spec in enumerate(config.data.sets) if spec.format == FORMAT), None)


def published_exam(config: Config, limit: int = 0) -> Exam | None:
    """The exam over the pairs of `preferences(config)` whose prompt is a training question: `limit` of them (0: ITEMS),
    each of another prompt. The same each time.

    None without such a set, and where fewer than MIN_QUESTIONS prompts have a pair. Raises DataError for a set that
    cannot be used.
    """
    found = preferences(config)
    if found is None:
        return None
    number, spec = found
    loaded = load_set(spec, number)
    asked = {normal(q.question) for q in loaded.questions if q.split == "train"}
    by_prompt: dict[str, Pair] = {}
    # Ids are hashes: the first ones are a random draw.
    for pair in sorted(load_pairs(spec.path, f"data.sets.{number}.path"), key=lambda pair: pair.pair_id):
        if (prompt := normal(pair.question)) in asked:
            by_prompt.setdefault(prompt, pair)
    if len(by_prompt) < MIN_QUESTIONS:
        return None
    items = tuple(map(_item, list(by_prompt.values())[: limit or ITEMS]))
    about = {"source": spec.path, "data_sha256": loaded.data_sha256, "split": "train", "questions": len(by_prompt)}
    return Exam(PUBLISHED, items, about=about)


def _item(pair: Pair) -> ExamItem:
    asked = Question("", FORMAT, "train", "", "", pair.question)
    return ExamItem("published", pair.pair_id, judge_item(asked, pair.chosen), judge_item(asked, pair.rejected))
