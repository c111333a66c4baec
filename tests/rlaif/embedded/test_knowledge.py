from __future__ import annotations

import re
from itertools import islice

import pytest

from rlaif.embedded import corpus
from rlaif.embedded.knowledge import SECTIONS, Topic, load_topics
from rlaif.embedded.medquad_style import WORDINGS
from rlaif.embedded.pubmedqa_style import people_with

DOCUMENTS = 3000


def topics(*splits: str) -> list[Topic]:
    return [t for t in load_topics() if t.split in splits]


def words(text: str) -> str:
    """Lower-case words with one blank around each."""
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "


@pytest.fixture(scope="module")
def documents() -> list[str]:
    def chat(exchanges: list[tuple[str, str]], context: str) -> str:
        return "\n".join([context, *(line for exchange in exchanges for line in exchange)])

    return list(islice(corpus.documents(1, chat), DOCUMENTS))


def test_there_are_about_250_topics_and_enough_of_them_held_out() -> None:
    assert len(load_topics()) >= 240
    assert len(topics("gate")) >= 50
    assert len(topics("sealed")) >= 50
    assert len(topics("train")) >= 100


def test_each_split_has_conditions_and_medicines() -> None:
    for split in ("train", "gate", "sealed"):
        kinds = [t.kind for t in topics(split)]
        assert kinds.count("condition") >= 20 and kinds.count("medicine") >= 5


def test_no_two_topics_have_one_name_whatever_its_case() -> None:
    names = [t.name.lower() for t in load_topics()]
    assert len(set(names)) == len(names)


def test_every_topic_is_complete() -> None:
    for topic in load_topics():
        assert topic.about and topic.name == topic.name.strip()
        assert tuple(topic.points) == tuple(topic.prose) == SECTIONS[topic.kind]
        for section, points in topic.points.items():
            assert len(points) >= 3, (topic.name, section)
            assert len(set(points)) == len(points), (topic.name, section)
            assert all(p == p.strip() and p and not p.endswith(".") and ";" not in p for p in points), (
                topic.name,
                section,
            )
            assert topic.prose[section].strip().endswith("."), (topic.name, section)


def test_the_two_wordings_of_a_section_differ() -> None:
    for topic in load_topics():
        for section, points in topic.points.items():
            assert ", ".join(points) not in topic.prose[section], (topic.name, section)
            assert topic.prose[section] != " ".join(points)


def test_the_corpus_is_seeded(documents: list[str]) -> None:
    def first(seed: int) -> list[str]:
        return list(islice(corpus.documents(seed, lambda exchanges, context: repr(exchanges) + context), 20))

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert len(set(documents)) > 0.95 * DOCUMENTS


def test_no_corpus_document_is_about_a_held_out_topic(documents: list[str]) -> None:
    """No leaflet on it, no question about it, no trial in its patients, none of its sentences."""
    held = topics("gate", "sealed")
    text = "\n".join(documents).lower()
    names = "|".join(sorted((re.escape(t.name.lower()) for t in held), key=len, reverse=True))
    assert not re.findall(rf"^(?:{names}) is ", text, re.MULTILINE)
    trials = "\n".join(
        d for d in documents if d.startswith("Abstract:")
    ).lower()  # points of train topics name some conditions, too
    assert trials and not re.findall(rf"people (?:with|taking) (?:{names})\b(?! of some kind)", trials)
    lines = set(text.split("\n"))
    for topic in held:
        questions = {q.format(x=topic.name).lower() for s in topic.points for q in WORDINGS[s][1]}
        assert not questions & lines, topic.name
        assert not {prose.lower() for prose in topic.prose.values()} & lines, topic.name
    # and the looking can fail: the train topics are found by the same means
    train = topics("train")
    assert any({q.format(x=t.name).lower() for s in t.points for q in WORDINGS[s][1]} & lines for t in train)
    assert any(people_with(t).lower() in text for t in train)
