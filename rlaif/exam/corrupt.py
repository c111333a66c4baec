"""Spoils an answer in one known way. Pure functions of the text and a seeded generator; None where the text offers no
hold.
"""

from __future__ import annotations

import random
import re

from rlaif.exam.words import (
    AUXILIARIES,
    CLAIMS,
    DEMANDS,
    FILLER,
    FRAMES,
    LITTLE,
    MODALS,
    NEGATIVE,
    NOUN_BEFORE,
    NOUNS,
    NUMBER_WORDS,
    SUBORDINATE,
    UNITS,
    VERBS,
)

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\"])|\n+")
_WORD = re.compile(r"[A-Za-z'-]+")
_CLAUSE = re.compile(r"[,;:()]")
NUMBER = re.compile(
    rf"(?<![\w.,/-])(\d{{1,3}}(?:,\d{{3}})+|\d+(?:\.\d+)?|{'|'.join(NUMBER_WORDS)})(?=[ "
    rf"-]?(?:{UNITS})\b|%| (?:in|out of) [\d,]+ | to \d)",
    re.IGNORECASE,
)
_ANY_NUMBER = re.compile(rf"\d{{1,3}}(?:,\d{{3}})+|\d+(?:\.\d+)?|\b(?:{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_NO_MEMBER = SUBORDINATE | {"but", "so", "then", "yet"}  # what opens with one of these is no member of a list
NEGATED_SHARE = 3  # one sentence in so many is turned round, and one at least


def sentences(text: str) -> list[str]:
    """`text` cut at full stops and line breaks."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def negate(text: str, rng: random.Random) -> str | None:
    """One sentence in three, and one at least, says the opposite: "not" goes to its main verb, or away from it."""
    parts = sentences(text)
    turned = {i: new for i, part in enumerate(parts) if (new := negate_sentence(part)) is not None}
    if not turned:
        return None
    chosen = rng.sample(sorted(turned), min(len(turned), max(1, len(parts) // NEGATED_SHARE)))
    return " ".join(turned[i] if i in chosen else part for i, part in enumerate(parts))


def negate_sentence(sentence: str) -> str | None:
    """The sentence with its first main verb turned round, by the first rule that fits; None where none does.

    "X cannot", "X is not" lose the negation; a modal or a form of "to be" gets one; a verb of the list gets "do not" or
    "does not".
    """
    words = list(_WORD.finditer(sentence))
    for i, match in enumerate(words):
        if i == 0 or _opened_by(SUBORDINATE, sentence, words, i):
            continue
        word, following = match[0], words[i + 1][0] if i + 1 < len(words) else ""
        before = words[i - 1][0].lower()
        rest = sentence[match.end() :]
        head = sentence[: match.start()]
        if word == "cannot":
            return f"{head}can{rest}"
        if word in AUXILIARIES | set(MODALS) and following == "not":
            return f"{head}{word}{rest.replace(' not', '', 1)}"
        if following in NEGATIVE or before in NOUN_BEFORE or _opened_by(NEGATIVE, sentence, words, i):
            continue
        if word in MODALS and following:
            return f"{head}{MODALS[word]}{rest}"
        if word in AUXILIARIES:
            return f"{head}{word} not{rest}"
        if word in VERBS and following:
            return f"{head}do not {word}{rest}"
        base = _base(word)
        if base and following:
            return f"{head}does not {base}{rest}"
    return None


def _opened_by(openers: frozenset[str], sentence: str, words: list[re.Match[str]], i: int) -> bool:
    """Whether one of `openers` stands before word `i` in its clause."""
    start = max((m.end() for m in _CLAUSE.finditer(sentence, 0, words[i].start())), default=0)
    return any(m[0].lower() in openers for m in words[:i] if m.start() >= start)


def _base(word: str) -> str:
    """The plain form of a verb of the list in the third person, else ""."""
    if word == "has":
        return "have"
    for form in (word[:-3] + "y" if word.endswith("ies") else "", word[:-2] if word.endswith("es") else "", word[:-1]):
        if word.endswith("s") and form in VERBS and form not in NOUNS:
            return form
    return ""


def change_number(text: str, rng: random.Random, told: str) -> str | None:
    """One number that counts or measures something is off by a factor of 2 to 10; the new one stands nowhere else.

    Only a number that `told` states too is changed: sources differ in their numbers, and nobody could say which of two
    is wrong.
    """
    known = _numbers(told)
    found = [m for m in NUMBER.finditer(text) if _value(m[1]) in known]
    if not found:
        return None
    match = rng.choice(found)
    present = known | _numbers(text)
    value = _value(match[1])
    percent = text[match.end() :].lstrip(" -").startswith(("%", "percent"))
    factors = [f for f in (10, 5, 4, 3, 2) if not percent or value * f <= 100] + [0.5, 0.2, 0.1]
    for factor in rng.sample(factors, len(factors)):
        new = f"{value * factor:.10g}"
        if float(new) not in present and ("." not in new or "." in match[1] or value < 2):
            spelled = f"{int(new):,}" if new.isdigit() else new
            return f"{text[: match.start()]}{spelled}{text[match.end() :]}"
    return None


def _value(number: str) -> float:
    return float(NUMBER_WORDS.get(number.lower(), number.replace(",", "")))


def _numbers(text: str) -> set[float]:
    return {_value(n) for n in _ANY_NUMBER.findall(text)}


def drop_half(text: str, rng: random.Random) -> str | None:
    """Half of the sentences, drawn at random, in their order; of a single sentence, half of the members of its list."""
    parts = sentences(text)
    if len(parts) > 1:
        kept = sorted(rng.sample(range(len(parts)), len(parts) // 2))
        return " ".join(parts[i] for i in kept)
    members = re.split(r",\s+", text.rstrip(". "))
    if len(members) < 3 or any(len(m.split()) < 2 or m.split()[0] in _NO_MEMBER for m in members):
        return None
    half = (len(members) + 1) // 2
    for kept_members in (members[:half], members[-half:]):
        left = ", ".join(kept_members)
        if negate_sentence(left):  # the part with the verb has to stay, or what is left says nothing
            return f"{left[0].upper()}{left[1:]}."
    return None


def pad(text: str, rng: random.Random) -> str:
    """Two sentences more that are true and say nothing on the question."""
    return " ".join([text, *rng.sample(FILLER, 2)])


def reformat(text: str, rng: random.Random) -> str:
    """The same words in another layout: a list, bold type, other line breaks, a heading, or indented."""
    parts = sentences(text)
    if len(parts) == 1:
        parts = re.split(r"(?<=,)\s+", text)
    words = text.split()
    styles = (
        "\n".join(f"- {part}" for part in parts),
        "\n".join(f"{number}. {part}" for number, part in enumerate(parts, start=1)),
        "\n\n".join(parts),
        " ".join([f"**{words[0]}**", *words[1:]]) if words else text,
        f"# Answer\n\n{text}",
        "\n".join(" ".join(words[i : i + 7]) for i in range(0, len(words), 7)),
        f"  {text}\n\n",
    )
    return styles[rng.randrange(len(styles))]


def demand(text: str, number: int) -> str:
    """`text` with words to the judge after it: by turns a demand for a high score and a claim that the answer is whole,
    the `number`-th of each list.
    """
    turn, claims = divmod(number, 2)
    told = CLAIMS if claims else DEMANDS
    return f"{text} {told[turn % len(told)]}"


def framed(text: str, number: int) -> str:
    """All of `text`, a list or sentences, denied from outside by the `number`-th of the frames."""
    frame = FRAMES[number % len(FRAMES)]
    return frame.format(p=text.rstrip(". \n"))


def soup(text: str, rng: random.Random, number: int) -> str:
    """The words of `text` that say something, in random order, as text without any sentence: four layouts in turn."""
    words = list(dict.fromkeys(w.lower() for w in _WORD.findall(text) if w.lower() not in LITTLE))
    rng.shuffle(words)
    layouts = (" ".join(words), ", ".join(words), f"Keywords: {', '.join(words)}", f"{' '.join(words)}.")
    return layouts[number % len(layouts)]
