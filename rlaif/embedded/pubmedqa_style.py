"""PubMedQA-style questions about made-up trials: `pubmedqa_style`, never to be taken for PubMedQA.

Each item is a short invented abstract with numbers, a question, and a yes/no/maybe that follows from those numbers by
one rule:

- yes: the outcome is rarer with the intervention and p < 0.05;
- maybe: it is rarer and 0.05 <= p < 0.20, so the trial cannot tell;
- no: otherwise (no difference to speak of, or a harmful one).

p comes from the pooled two-proportion z test on the group sizes and counts of the text. About 55 / 34 / 11 in a
hundred, as in the original.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from rlaif.embedded.knowledge import Topic, load_topics
from rlaif.types import Question, content_id

DATASET = "pubmedqa_style"
QUESTIONS_A_TOPIC = {"train": 12, "gate": 10, "sealed": 10}
LABEL_WEIGHTS = {"yes": 0.55, "no": 0.34, "maybe": 0.11}
IN_WORDS = 0.80  # share of abstracts that say the result in words too
HARMFUL = 0.25  # share of the "no" trials in which the intervention did harm

INTERVENTIONS = (
    "a weekly exercise class",
    "a daily text message",
    "visits by a nurse",
    "a low-salt diet",
    "guided breathing practice",
    "a smartphone diary",
    "group talking sessions",
    "an evening walk",
    "a printed action plan",
    "early physiotherapy",
    "a plant-based diet",
    "home monitoring",
    "a pharmacist review",
    "short video lessons",
    "a longer first visit",
    "peer support by telephone",
    "bright light in the morning",
    "a yoga course",
    "strength training",
    "a sleep routine",
    "music during treatment",
    "a fiber supplement",
    "regular weighing at home",
    "a shared care record",
    "a same-day clinic",
    "mindfulness training",
    "balance exercises",
    "a Mediterranean diet",
    "a reminder letter",
    "a family meeting",
)
CONTROLS = (
    "usual care",
    "a waiting list",
    "a leaflet alone",
    "standard advice",
    "an attention control",
    "routine visits",
)
OUTCOMES = (
    "hospital stays",
    "relapses",
    "missed work days",
    "emergency visits",
    "poor sleep",
    "severe tiredness",
    "falls",
    "treatment changes",
    "low mood",
    "readmissions",
    "night-time waking",
    "unplanned calls",
    "bad days",
    "loss of appetite",
    "weight loss",
    "dropouts",
    "repeat visits",
    "bouts of pain",
    "setbacks",
    "new complaints",
)
PLACES = (
    "two clinics",
    "a rural district",
    "a city hospital",
    "six practices",
    "one region",
    "three centers",
    "a day unit",
)


@dataclass(frozen=True, slots=True)
class Trial:
    """Two groups of `n` people; `a` and `b` count those with the outcome, with the intervention and without."""

    n: int
    a: int
    b: int

    @property
    def p(self) -> float:
        """Two-sided p of the pooled two-proportion z test (e.g. Fleiss, Statistical Methods for Rates and Proportions,
        ch. 3).
        """
        pooled = (self.a + self.b) / (2 * self.n)
        se = math.sqrt(2 * pooled * (1 - pooled) / self.n)
        return math.erfc(abs(self.a - self.b) / self.n / se / math.sqrt(2))

    @property
    def label(self) -> str:
        p = round(self.p, 3)  # as printed
        if self.a >= self.b or p >= 0.20:
            return "no"
        return "yes" if p < 0.05 else "maybe"


def draw_trial(rng: random.Random, label: str) -> Trial:
    """A trial of the given label, by drawing group sizes and counts until one has it."""
    harmful = label == "no" and rng.random() < HARMFUL
    while True:
        n = 10 * rng.randint(6, 40)
        low, high = rng.uniform(0.08, 0.45), rng.uniform(0.08, 0.6)
        if label == "no" and not harmful:
            high = low + rng.uniform(-0.04, 0.04)
        trial = Trial(n, round(low * n), round(high * n))
        if trial.a + trial.b == 0 or trial.label != label or trial.p < 0.0005:
            continue
        if label == "no" and harmful != (trial.a > trial.b and trial.p < 0.05):
            continue
        return trial


def percent(count: int, n: int) -> str:
    return f"{100 * count / n:.0f}%"


def abstract(rng: random.Random, topic: Topic, intervention: str, outcome: str, trial: Trial) -> str:
    """Background, methods and results, one a line. The numbers stand close together, so the text of two trials differs
    every few words.
    """
    people = people_with(topic)
    control, weeks, place = rng.choice(CONTROLS), rng.randint(4, 52), rng.choice(PLACES)
    background = rng.choice(
        (
            f"It is not known whether {intervention} matters for {outcome} in {people}.",
            f"{outcome.capitalize()} are a burden for {people}, and {intervention} might help.",
            f"Interest in {intervention} for {people} has grown.",
        )
    )
    methods = rng.choice(
        (
            f"In {place}, {2 * trial.n} {people} were assigned to {intervention} or {control} for {weeks} weeks.",
            f"We gave {trial.n} {people} {intervention} and {trial.n} others {control} over {weeks} weeks in {place}.",
            f"A {weeks}-week trial in {place} set {intervention} against {control} in {2 * trial.n} {people}.",
        )
    )
    a, b, p = percent(trial.a, trial.n), percent(trial.b, trial.n), f"p = {trial.p:.3f}"
    if rng.random() < IN_WORDS:
        p = f"{p}, {in_words(trial)}"
    results = rng.choice(
        (
            f"With {intervention} {a} had {outcome}, with {control} {b} ({p}).",
            f"{outcome.capitalize()} were seen in {a} after {intervention} against {b} after {control}, {p}.",
            f"The rates of {outcome} were {a} ({intervention}) and {b} ({control}); {p}.",
        )
    )
    return "\n".join((background, methods, results))


def in_words(trial: Trial) -> str:
    """The result as authors put it: direction and significance, both as the printed numbers have them."""
    p = round(trial.p, 3)
    if p >= 0.20:
        return "no clear difference"
    side = "fewer" if trial.a < trial.b else "more"
    return f"significantly {side}" if p < 0.05 else f"{side} but not significantly so"


def people_with(topic: Topic) -> str:
    return f"people {'with' if topic.kind == 'condition' else 'taking'} {topic.name}"


def conclusion(topic: Topic, intervention: str, outcome: str, trial: Trial) -> str:
    """What the authors would conclude: the `long_answer` of PubMedQA. It gives the label away and is never shown to a
    scored policy.
    """
    people = people_with(topic)
    if trial.label == "yes":
        return f"In {people}, {intervention} lowered the rate of {outcome}."
    if trial.label == "maybe":
        return f"In {people}, {intervention} may lower the rate of {outcome}, but the trial was too small to tell."
    return f"In {people}, {intervention} did not lower the rate of {outcome}."


def draw_item(rng: random.Random, topic: Topic) -> tuple[str, str, str, Trial]:
    """(abstract, question, conclusion, trial) of one made-up trial."""
    label = rng.choices(tuple(LABEL_WEIGHTS), tuple(LABEL_WEIGHTS.values()))[0]
    intervention, outcome, trial = rng.choice(INTERVENTIONS), rng.choice(OUTCOMES), draw_trial(rng, label)
    question = rng.choice(
        (
            f"Does {intervention} reduce {outcome} in {people_with(topic)}?",
            f"Is {intervention} effective against {outcome} in {people_with(topic)}?",
            f"Can {intervention} lower the rate of {outcome} in {people_with(topic)}?",
        )
    )
    return (
        abstract(rng, topic, intervention, outcome, trial),
        question,
        conclusion(topic, intervention, outcome, trial),
        trial,
    )


def questions(topic: Topic) -> list[Question]:
    """The items of one topic, the same each time: the seed is the topic's name."""
    rng = random.Random(f"{DATASET}/{topic.name}")
    made = []
    for index in range(QUESTIONS_A_TOPIC[topic.split]):
        context, question, reference, trial = draw_item(rng, topic)
        made.append(
            Question(
                question_id=content_id(DATASET, topic.name, question, context, trial.label),
                dataset=DATASET,
                split=topic.split,
                source_id=f"{topic.name}/{index}",
                group_id=content_id(DATASET, topic.name),
                question=question,
                context=context,
                reference=reference,
                label=trial.label,
                focus=topic.name,
            )
        )
    return made


def load() -> list[Question]:
    """All `pubmedqa_style` questions of all splits, in a fixed order."""
    return [q for topic in load_topics() for q in questions(topic)]
