"""Which exam licenses for a run: one made of the data that it labels, where the data give one.

An exam needs two answers to one question: one as the reference, the other as the good answer.
"""

from __future__ import annotations

from rlaif.config import Config
from rlaif.data import load_questions
from rlaif.data.sets import load_set
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.items import Exam
from rlaif.exam.medquad import asked_twice, medquad_exam, own_exam

MIN_QUESTIONS = 60  # with two answers each: from fewer the bounds of most rules could not be reached
EMBEDDED, MEDQUAD, OWN = "embedded", "medquad", "own"
WORTH = (
    "with the licence of the embedded exam, on short English health texts, which proves nothing about your data: fewer "
    f"than {MIN_QUESTIONS} of its training questions have two answers, so no exam can be made of them"
)


def names(config: Config) -> tuple[str, ...]:
    """The exams that can license for `config`, the one that counts first. Reads no file."""
    if config.data.medquad not in ("", "embedded"):
        return (MEDQUAD, EMBEDDED)
    return (OWN, EMBEDDED) if config.data.sets else (EMBEDDED,)


def licensing_exam(config: Config, limit: int = 0) -> Exam:
    """The exam over the training documents of what `config` labels, `limit` items of each type (0: the exam's size).

    It is made of `data.medquad`, or of the own set with the most training questions that have two answers, where these
    are MIN_QUESTIONS or more; else it is the embedded one, and WORTH says what its licence is worth. Raises DataError
    for data that cannot be used.
    """
    if config.data.medquad not in ("", "embedded"):
        path = config.data.medquad  # MedQuAD, or a file of one's own in its columns
        if len(asked_twice(load_questions(MEDQUAD, path).questions)) >= MIN_QUESTIONS:
            return medquad_exam(path, limit)
        return embedded_exam(limit)
    sets = [(load_set(spec, number), spec.path) for number, spec in enumerate(config.data.sets)]
    if sets:
        loaded, path = max(sets, key=lambda each: len(asked_twice(each[0].questions)))
        if len(asked_twice(loaded.questions)) >= MIN_QUESTIONS:
            return own_exam(loaded, path, limit)
    return embedded_exam(limit)
