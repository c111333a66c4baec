"""What a run's judge says of an answer given in `chat`, where it can say anything."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from judges import NEED_REFERENCE
from rlaif.chat.answerer import Answerer
from rlaif.judging.configured import judge_settings
from rlaif.records import load_questions
from rlaif.types import JudgeItem, Question, UsageError, Verdict


def judge_answer(answerer: Answerer, question: str, context: str, text: str) -> tuple[Verdict, str]:
    """The verdict of the run's judge, of the reference judge where there is no run, and what it had to go by, in words.

    A reference and key points go with it where the run knows the question. Raises UsageError, saying why, for a judge
    that compares with a reference where it does not, and for a question of the sealed test; RlaifError when the judge
    cannot be asked.
    """
    from judges import make_judge
    from stores.cache import AnswerCache

    known = known_question(questions_of(answerer), question, context)
    if isinstance(known, str) and answerer.config.judge.model in NEED_REFERENCE:
        raise UsageError(f"the judge {answerer.config.judge.model!r} compares with a reference answer, and {known}")
    settings = judge_settings(answerer.config)
    judge = make_judge(answerer.config.judge.model, settings, AnswerCache(answerer.run.store) if answerer.run else None)
    if isinstance(known, str):
        return judge.score([JudgeItem("", question, text, context=context)])[0], f"without a reference: {known}"
    item = JudgeItem("", question, text, known.reference, known.context, known.key_points, rubric=known.rubric)
    return judge.score([item])[0], "with the reference and key points of this known question"


def questions_of(answerer: Answerer) -> list[Question]:
    """The free-text questions that come with a reference, of the run or of the embedded set."""
    if answerer.run is not None:
        return load_questions(answerer.run, "label = '' AND reference <> ''", [])
    from rlaif.data import load_questions as read

    return [q for q in read("medquad", "embedded").questions if q.reference]


def known_question(questions: Sequence[Question], text: str, context: str) -> Question | str:
    """The known question that `text` asks, or why there is none, in words.

    Small differences of case, blanks and punctuation do not count. Where it stands more than once, the one with this
    `context` is taken; an answer given without any context may be compared with the reference all the same, one given
    from another text may not. UsageError when it is a question of the sealed test.
    """
    matches = [q for q in questions if plain(q.question) == plain(text)]
    known = [q for q in matches if q.split != "sealed"]
    if matches and not known:
        raise UsageError(
            "this question belongs to the sealed test, and its reference is not looked at outside of it; "
            "ask another one"
        )
    if not known:
        open_questions = [q.question for q in questions if q.split != "sealed"]
        nearest = difflib.get_close_matches(text, open_questions, n=1, cutoff=0.75)
        return "this is none of the known questions" + (f"; the nearest of them is {nearest[0]!r}" if nearest else "")
    best = min(known, key=lambda q: plain(q.context) != plain(context))
    if context and plain(best.context) != plain(context):
        return "the known question of these words has another text as its context; /context alone drops yours"
    return best


def plain(text: str) -> str:
    """The words alone, in small letters."""
    return " ".join(re.findall(r"\w+", text.casefold()))
