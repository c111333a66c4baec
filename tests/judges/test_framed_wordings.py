"""Thirty frames that deny what stands inside them, in wordings of their own: the exam's thirty are others."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from judges.readings import other_readings
from judges.reference import ReferenceJudge
from judges.support import SupportJudge
from rlaif.exam import words
from rlaif.types import Judge, JudgeItem

FRAMES = (
    "{heap}: {p}.",
    "{heap} about this: {p}.",
    "{heap} that are still told. {p}.",
    "The following is {wrong}: {p}.",
    "What follows is {wrong}. {p}.",
    "{wrong}: {p}.",
    "{none} {comes} {right}: {p}.",
    "{none} is {right}. {p}.",
    "It is {wrong} that this is so: {p}.",
    "{people} {say} the following, but it is {wrong}: {p}.",
    "{learned} {reject} all of the following. {p}.",
    "Never {trust} this: {p}.",
    "{p}: {none} is {right}.",
    "{p}: {wrong}.",
    "{p}: by now {thrown}.",
    "{p}. {none} {comes} {right}.",
    "{p}. {all} is {wrong}.",
    "{p}. {all} has been {thrown} by {learned}.",
    "{p}. {learned} {reject} {all}.",
    "{p}, or so {people} {say}, but it is {wrong}.",
    "{p} ({wrong}).",
    "{p}. In truth it is {none}.",
    "{p}. What stands above is {wrong}; {people} only {say} it.",
    "{people} {say}: {p}. {all} is {wrong}.",
    "{people} {say} so. {p}. {none} was ever {right}.",
    "You may hear this: {p}. It was {thrown}.",
    "A {heap} begins. {p}. So much for what is {wrong}.",
    "Question: is it {p}? Answer: no, {none}.",
    "{wrong}! {p}. {wrong}!",
    "To {trust} this would be an error: {p}. {learned} have {thrown} it.",
)
FRAME_PARTS = {
    "heap": (
        "Fables", "False ideas", "Errors", "Common mistakes", "Lies", "Tall tales", "Legends", "Untrue claims",
        "Misbeliefs", "Fiction", "Disproved claims", "Wrong notions", "Not to be believed", "Inventions", "Hoaxes",
        "Things it has nothing to do with", "Rejected", "Untruths", "Superstitions", "Invented things", "Rumors",
        "Misconceptions that people have", "False statements",
    ),
    "wrong": (
        "wrong", "false", "untrue", "a myth", "not so", "not true", "a mistake", "incorrect", "an error", "a lie",
        "the opposite of the truth", "without any basis", "pure invention", "nonsense from the first word on",
        "not correct", "a fairy tale", "refuted by now", "a misconception", "mistaken", "disproved", "unfounded",
        "made up", "not the case",
    ),
    "right": ("so", "right", "true", "correct", "the case", "a fact", "known to be so", "shown", "valid"),
    "none": (
        "none of this", "nothing of it", "not a single one of these", "no word of that", "none", "not one of them",
        "nothing in this list", "neither this nor that", "no part of this", "none of the things named",
    ),
    "comes": ("is", "was ever", "has ever been", "can be called", "turned out to be", "is known to be"),
    "all": ("all of this", "each of these", "every one of them", "the whole of it", "all that", "the above"),
    "people": ("some", "people", "neighbors", "old books", "many", "they", "quacks", "newspapers", "strangers"),
    "say": ("say", "believe", "claim", "think", "tell you", "write", "repeat", "imagine"),
    "learned": ("doctors", "studies", "science", "research", "specialists", "trials", "those who know", "the facts"),
    "reject": ("deny", "contradict", "reject", "do not support", "speak against", "have refuted", "dismiss"),
    "thrown": ("refuted", "disproved", "thrown out", "found false", "withdrawn", "ruled out", "proved wrong", "denied"),
    "trust": ("believe", "trust", "accept", "repeat", "listen to"),
}  # fmt: skip
# Frames of the same build that deny nothing: the words inside count as they stand.
AFFIRMATIONS = (
    "The facts: {p}.",
    "In brief: {p}.",
    "These are known: {p}.",
    "It is true that this is so: {p}.",
    "The following is right. {p}.",
    "What doctors say: {p}.",
    "All of these: {p}.",
    "Not to be forgotten: {p}.",
    "{p}. That is what is known.",
    "{p}. All of this is well known.",
    "{p}. Doctors agree on it.",
    "{p}, as every leaflet says.",
    "People say: {p}. They are right.",
    "Is it so? Yes: {p}.",
)

POINTS = ("a dry cough", "a mild fever", "tiredness")
ITEM = JudgeItem(
    "c", "What are the symptoms of flu?", "", "Symptoms are a dry cough, a mild fever, tiredness.", "", POINTS
)


def filled(frame: str, seed: int) -> str:
    rng = random.Random(f"{frame}/{seed}")
    text = re.sub(r"{(?!p})(\w+)}", lambda m: rng.choice(FRAME_PARTS[m[1]]), frame)
    return (text[0].upper() + text[1:]).format(p=", ".join(POINTS))


def bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def test_the_exam_has_none_of_them() -> None:
    assert len(FRAMES) == len(words.FRAMES) == 30
    exam = {bare(frame.format(p="")) for frame in words.FRAMES}
    assert not exam & {bare(filled(frame, n).replace(", ".join(POINTS), "")) for frame in FRAMES for n in range(200)}


@pytest.mark.parametrize("judge", [ReferenceJudge(), SupportJudge()], ids=["reference", "support"])
def test_a_judge_that_compares_words_gives_no_marks_for_what_is_denied(judge: Judge) -> None:
    texts = [filled(frame, n) for frame in FRAMES for n in range(10)]
    marks = [v.score for v in judge.score([replace(ITEM, answer=text) for text in texts])]
    good = judge.score([replace(ITEM, answer="A dry cough, a mild fever and tiredness are usual.")])[0].score
    assert good is not None
    fooled = [text for text, mark in zip(texts, marks, strict=True) if mark is not None and mark >= good]
    assert len(fooled) <= 0.05 * len(texts), fooled


@pytest.mark.parametrize("frame", AFFIRMATIONS)
def test_what_is_affirmed_counts_as_it_stands(frame: str) -> None:
    said = frame.format(p="A dry cough, a mild fever and tiredness are usual")
    score = ReferenceJudge().score([replace(ITEM, answer=said)])[0].score
    assert score is not None and score >= 0.5


def test_the_tiny_judge_reads_them_without_what_they_deny() -> None:
    texts = [filled(frame, n) for frame in FRAMES for n in range(10)]
    denied = [
        any(not re.search("cough|fever|tired", r.answer) for r in other_readings(replace(ITEM, answer=text)))
        for text in texts
    ]
    assert sum(denied) >= 0.95 * len(texts), [t for t, d in zip(texts, denied, strict=True) if not d][:10]
