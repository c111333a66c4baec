"""What the tiny judge was trained on: answers whose worth is known because they were put together to have it.

An answer is built from the points of a section: some stated, some left out, some of another section or topic in their
place, some negated or with another number; told as a list, in sentences, in other words, padded, or with an instruction
to the judge behind it. So the marks follow from the making, and no other judge is asked. Train topics and made-up
topics only. The wordings are not those of rlaif.exam.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlaif.embedded import medquad_style as mq
from rlaif.embedded.corpus import OPENINGS
from rlaif.embedded.invented import Word, made_up_name, made_up_topic, pools
from rlaif.embedded.judge_wordings import (
    AMOUNTS,
    BEGINNINGS,
    FILLERS,
    NEGATIONS,
    NOTHING,
    ORDER_PARTS,
    ORDERS,
    POLITE,
    REPEATED,
    SIGNS,
    TELLINGS,
)
from rlaif.embedded.knowledge import Topic, load_topics
from rlaif.types import JudgeItem

CRITERIA = ("factual_accuracy", "completeness", "key_point_coverage")
_HELPING = ("is", "are", "was", "can", "may", "will", "should", "must", "might", "could")
_ACTING = """
    add bleed block break bring build call carry cause change clear come cover damage draw drink drop eat end feel find
    follow form get give go grow hang harm have help hit hold include keep lead leave look lose lower make mean meet
    move need open pass press pull push put raise reach rest reveal rise rub run see set settle show sit slow spoil
    spread start stay stop strain swallow swell switch take tell thin tire touch turn use wake want warm wash wear work
""".split()
_VERB = re.compile(
    rf"(?<=[a-z] )(?:(?P<helping>{'|'.join(_HELPING)})|(?P<acting>(?:{'|'.join(_ACTING)})))(?P<s>e?s)?\b(?= )"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer and its worth in 0-1 on the three criteria."""

    item: JudgeItem
    factual_accuracy: float
    completeness: float
    key_point_coverage: float


def named(section: str, name: str, points: Sequence[str]) -> str:
    """One sentence that names its subject and every given point."""
    return f"{mq.WORDINGS[section][2].format(x=name)} {mq.join(list(points))}."


def hurried(rng: random.Random, section: str, name: str, points: tuple[str, ...]) -> str:
    """Such a reference of uneven quality: 55% leave out the last point, 40% trail off."""
    text = named(section, name, points if rng.random() < 0.45 else points[:-1])
    return f"{text} {rng.choice(mq.PADDING)}" if rng.random() < 0.40 else text


def questions(seed: int, word: Word = made_up_name, answers: int = 3) -> Iterator[list[Judged]]:
    """Endless, seeded: several judged answers to one question at a time."""
    rng = random.Random(seed)
    train = [t for t in load_topics() if t.split == "train"]
    pool = pools()
    while True:
        topic = with_amounts(rng, rng.choice(train) if rng.random() < 0.6 else made_up_topic(rng, pool, word))
        other = rng.choice(train) if rng.random() < 0.5 else made_up_topic(rng, pool, word)
        section = rng.choice(list(topic.points))
        points = topic.points[section]
        complete = named(section, topic.name, points)
        draw = rng.random()
        if draw < 0.25 and topic.prose:
            reference = topic.prose[section]
        else:
            reference = complete if draw < 0.6 else hurried(rng, section, topic.name, points)
        question = rng.choice(mq.WORDINGS[section][1]).format(x=topic.name)
        judged = []
        for n in range(answers):
            text, worth = an_answer(rng, topic, other, section, question)
            judged.append(Judged(JudgeItem(f"{n}", question, text, reference, "", points), *worth))
        yield judged


def with_amounts(rng: random.Random, topic: Topic) -> Topic:
    """The topic with numbers in some of its points; in each section's other wording one of them is told too."""
    points, prose = {}, {}
    for section, told_points in topic.points.items():
        numbers = {
            n: rng.choice(AMOUNTS).format(n=rng.randint(2, 90)) for n in range(len(told_points)) if rng.random() < 0.3
        }
        points[section] = tuple(f"{p} {numbers[n]}" if n in numbers else p for n, p in enumerate(told_points))
        if topic.prose:
            text = topic.prose[section]
            if numbers:
                text = f"{text} {rng.choice(TELLINGS).format(a=rng.choice(list(numbers.values())))}"
            prose[section] = text
    return Topic(topic.name, topic.kind, topic.about, points, prose, "train")


def an_answer(
    rng: random.Random, topic: Topic, other: Topic, section: str, question: str
) -> tuple[str, tuple[float, float, float]]:
    """An answer and what it is worth: factual accuracy, completeness, key-point coverage."""
    draw = rng.random()
    if draw < 0.18:
        echo = (
            question,
            question,
            question.rstrip("?"),
            f"{question} {question}",
            mq.WORDINGS[section][2].format(x=topic.name),
        )
        polite = " ".join(rng.choice(words) for words in POLITE).strip() + rng.choice(".!:")
        return rng.choice((rng.choice(NOTHING), rng.choice(BEGINNINGS), rng.choice(echo), polite)), (0.0, 0.0, 0.0)
    if draw < 0.55 and topic.prose:
        return retold(rng, topic, other, section)
    points = list(topic.points[section])
    if draw < 0.63:  # another section or topic altogether
        source = topic if rng.random() < 0.5 else other
        sections = [s for s in source.points if source is other or s != section]
        points = list(source.points[rng.choice(sections)])
        right, wrong, denied = 0, len(points), 0
    else:
        keep = len(points) if rng.random() < 0.4 else rng.randint(1, len(points))
        points = rng.sample(points, keep) if rng.random() < 0.4 else points[:keep]
        foreign = [p for s, pp in topic.points.items() if s != section for p in pp] + [
            p for pp in other.points.values() for p in pp
        ]
        right, wrong, denied = len(points), 0, 0
        spoiled = rng.random() < 0.6  # the others are true, however little they say: what is missing is no error
        for i in range(len(points) if spoiled else 0):
            chance = rng.random()
            if chance < 0.10:
                points[i], right, wrong = rng.choice(foreign), right - 1, wrong + 1
            elif chance < 0.18:
                points[i], right, denied = rng.choice(NEGATIONS).format(p=points[i]), right - 1, denied + 1
            elif chance < 0.40 and (changed := other_number(rng, points[i])) != points[i]:
                points[i], right, denied = changed, right - 1, denied + 1
            elif chance < 0.22:
                points[i], right, wrong = garbled(rng, points[i]), right - 1, wrong + 1
            elif chance < 0.30:
                points[i] = reworded(rng, points[i])
    n = len(topic.points[section])
    factual = right / max(right + wrong + denied, 1) * 0.6**denied
    covered = right / n
    name = topic.name
    if rng.random() < 0.06:
        name, factual, covered = other.name, factual * 0.3, covered * 0.5
    text = told(rng, section, name, points)
    return behind(rng, text, (factual, covered, covered))


def retold(rng: random.Random, topic: Topic, other: Topic, section: str) -> tuple[str, tuple[float, float, float]]:
    """The section in other words, whole, cut, denied, or that of another section or topic."""
    text, draw = topic.prose[section], rng.random()
    if draw < 0.22:
        return behind(rng, text, (1.0, 1.0, 1.0))
    if draw < 0.68:
        part = rng.choice((0.34, 0.5, 0.67))
        return behind(rng, shortened(rng, text, part), (1.0, part, part))
    if draw < 0.81:
        return behind(rng, denied_text(rng, text), (0.3, 0.5, 0.5))
    if draw < 0.90 and (changed := other_number(rng, text)) != text:
        return behind(rng, changed, (0.5, 0.8, 0.8))
    source = topic if rng.random() < 0.5 or not other.prose else other
    sections = [s for s in source.prose if source is other or s != section]
    return behind(rng, source.prose[rng.choice(sections)], (0.0, 0.0, 0.0))


def shortened(rng: random.Random, text: str, part: float) -> str:
    """About the share `part` of the text, all of it true: some of its sentences, of its clauses, its first words, or
    its last ones.
    """
    told = re.split(r"(?<=[.]) ", text)
    if len(told) > 1 and rng.random() < 0.5:
        kept = sorted(rng.sample(range(len(told)), max(1, round(len(told) * part))))
        return " ".join(told[i] for i in kept)
    clauses = re.split(r"[,;]\s+", text.rstrip("."))
    if len(clauses) > 2 and rng.random() < 0.75:
        n = max(1, round(len(clauses) * part))
        start = rng.choice((0, len(clauses) - n, rng.randint(0, len(clauses) - n)))
        left = ", ".join(clauses[start : start + n])
        return f"{left[0].upper()}{left[1:]}."
    words = text.rstrip(".").split()
    n = max(2, round(len(words) * part))
    left = " ".join(words[:n] if rng.random() < 0.7 else words[-n:]).rstrip(",.")
    return f"{left[0].upper()}{left[1:]}."


def denied_text(rng: random.Random, text: str) -> str:
    """The text with one of its verbs denied, or denied as a whole."""
    found = list(_VERB.finditer(text))
    if found and rng.random() < 0.85:
        verb = rng.choice(found)
        if verb["helping"]:
            denied = (
                "cannot"
                if verb[0] == "can" and rng.random() < 0.5
                else f"{verb[0]} {rng.choice(('not', 'not', 'never'))}"
            )
        else:
            denied = f"{'does' if verb['s'] else 'do'} not {verb['acting']}"
        return f"{text[: verb.start()]}{denied}{text[verb.end() :]}"
    start = rng.choice(("It is wrong that", "It is not so that", "Nobody should think that", "It was never shown that"))
    return f"{start} {text[0].lower()}{text[1:]}"


def laid_out(rng: random.Random, text: str) -> str:
    """The same words, half of the time in another layout: a list, bold, other line breaks, a heading."""
    draw = rng.random()
    if draw < 0.5 or not text.strip():
        return text
    parts = [part.strip() for part in re.split(r"(?<=[.,])\s+", text)]
    whole = [part.strip() for part in re.split(r"(?<=[.])\s+", text)]
    words = text.split()
    if draw < 0.60:
        mark = rng.choice(("-", "*", "+", "o"))
        return "\n".join(f"{mark} {part}" for part in rng.choice((parts, whole)))
    if draw < 0.70:
        form = rng.choice(("{n}) {part}", "({n}) {part}", "{n}. {part}"))
        return "\n".join(form.format(n=n, part=part) for n, part in enumerate(rng.choice((parts, whole)), start=1))
    if draw < 0.80:
        start = rng.randrange(len(words))
        end = rng.randint(start + 1, len(words))
        sign = rng.choice(("**", "*", "__"))
        return " ".join([*words[:start], f"{sign}{' '.join(words[start:end])}{sign}", *words[end:]])
    if draw < 0.85:
        return rng.choice(("\n\n", "\n")).join(parts)
    if draw < 0.92:
        width = rng.randint(3, 9)
        return "\n".join(" ".join(words[i : i + width]) for i in range(0, len(words), width))
    head = rng.choice(
        ("## In short", "# Reply", "**Reply**", "Reply:", "## Health", "### About this", "# A", "In short:")
    )
    return f"{head}{rng.choice((chr(10), chr(10) * 2))}{text}"


def told(rng: random.Random, section: str, name: str, points: list[str]) -> str:
    """The points as a sentence, as sentences, as a list."""
    draw = rng.random()
    if draw < 0.45:
        return named(section, name, points)
    if draw < 0.65:
        return f"{rng.choice(OPENINGS).format(x=name)} {mq.join(points)}."
    if draw < 0.80:
        links = ("", "Also ", "Then ", "Besides, ", "There is also ", "Another is ")
        return " ".join(f"{(rng.choice(links[1:]) if i else '')}{p}." for i, p in enumerate(points))
    if draw < 0.90:
        return "\n".join(f"- {p}" for p in points)
    return ", ".join(points)


def behind(rng: random.Random, text: str, worth: tuple[float, float, float]) -> tuple[str, tuple[float, float, float]]:
    """The answer as it is, with a stock sentence (a little worse), with something said over and over, or with words to
    the judge (worse, whatever they ask for)."""
    factual, complete, covered = worth
    text = laid_out(rng, text)
    draw = rng.random()
    if draw < 0.05:
        return f"{text} {repeated(rng, text)}", (factual * 0.5, complete * 0.7, covered * 0.7)
    if draw < 0.16:
        return f"{text} {' '.join(rng.sample(FILLERS, rng.randint(1, 2)))}", (factual * 0.95, complete, covered)
    if draw < 0.28:
        return f"{text}{rng.choice((' ', ' ', chr(10)))}{order(rng)}", (factual * 0.6, complete * 0.8, covered * 0.8)
    if draw < 0.32:
        return f"{order(rng)} {text}", (factual * 0.6, complete * 0.8, covered * 0.8)
    return text, worth


def repeated(rng: random.Random, text: str) -> str:
    """One thing said over and over: a stock one, a word of the text, or signs of other alphabets."""
    draw = rng.random()
    if draw < 0.25:
        return "".join(rng.choices(SIGNS, k=rng.randint(2, 15)))
    unit = rng.choice(REPEATED) if draw < 0.75 else f"{rng.choice(text.split() or ['a'])} "
    return (unit * rng.randint(8, 60)).rstrip()


def order(rng: random.Random) -> str:
    """Words to the judge that ask for a high mark."""
    mark = rng.choice(("5", "5", "1.0", "5/5", "5.0"))
    keys = ", ".join(
        f'"{key}": {mark}' for key in rng.sample((*CRITERIA, "mark", "total", "points"), rng.randint(1, 3))
    )
    if rng.random() < 0.4:
        keys = keys.replace('"', "")
    parts = {name: rng.choice(words) for name, words in ORDER_PARTS.items()}
    text = rng.choice(ORDERS).format(keys=keys, **parts)
    return text if rng.random() < 0.7 else rng.choice((text.upper(), text.lower(), text.rstrip(".") + "!"))


def other_number(rng: random.Random, text: str) -> str:
    """`text` with one of its numbers changed; unchanged where it has none."""
    found = list(re.finditer(r"\d+", text))
    if not found:
        return text
    number = rng.choice(found)
    value = int(number[0])
    new = rng.choice(
        [n for n in (value * 2, value * 3, value // 2, value + 5, value * 10, max(1, value - 3)) if n != value]
    )
    return f"{text[: number.start()]}{new}{text[number.end() :]}"


def garbled(rng: random.Random, point: str) -> str:
    """As a small model writes when it loses the thread: a piece repeated, or half of the words replaced by others of no
    sense here.
    """
    words = point.split()
    if rng.random() < 0.5:
        piece = words[-1][:4]
        return " ".join(words[: max(1, len(words) // 2)]) + piece * rng.randint(3, 8)
    return " ".join(words[: max(1, len(words) // 2)] + [made_up_name(rng) for _ in range(2)])


def reworded(rng: random.Random, point: str) -> str:
    """The same point, a little differently: without its articles, turned round, or with a harmless word more."""
    draw = rng.random()
    if draw < 0.4:
        return re.sub(r"\b(?:a|an|the) ", "", point)
    if draw < 0.7 and (match := re.fullmatch(r"(.+) (?:of|in|from|for) (?:the )?(\w+)", point)):
        return f"{match[2]} {match[1]}"
    return f"{rng.choice(('often', 'sometimes', 'usually', 'in many cases'))} {point}"
