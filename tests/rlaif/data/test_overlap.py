from __future__ import annotations

import pytest

from rlaif.data.overlap import Texts, asked_within, near_texts, near_topics, shared_grams, topic, words

TEXT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def naive(text: str, n: int) -> list[tuple[str, ...]]:
    w = words(text)
    return [tuple(w[i : i + n]) for i in range(len(w) - n + 1)]


def test_n_grams_stay_within_their_text_and_are_as_many_as_by_hand() -> None:
    texts = ["a b c d", "", "a b", "b c d e f", "a b c d"]
    hashes, owner = Texts(texts).grams(3)
    expected = [(gram, i) for i, text in enumerate(texts) for gram in naive(text, 3)]
    assert [i for _, i in expected] == owner.tolist()
    assert len(set(hashes.tolist())) == len({gram for gram, _ in expected})
    assert hashes[:2].tolist() == hashes[-2:].tolist()  # the same words, the same hashes
    assert Texts(["b c d"]).grams(3)[0].tolist() == [hashes[1]]  # whatever other texts there are


def test_no_texts_and_short_texts_have_no_n_grams() -> None:
    for texts in ([], [""], ["a b"]):
        assert len(Texts(texts).grams(3)[0]) == 0
    assert shared_grams(Texts(["a b"]), Texts(["a b"]), 3)[0].share == 0.0


def test_shared_grams() -> None:
    half = " ".join(words(TEXT)[:14])
    copied, none, other_case = shared_grams(
        Texts([TEXT, "nothing of it", TEXT.upper()]), Texts(["x " + half, "unrelated text", f"{half} fifteen!"]), 13
    )
    assert copied.share == 3 / 4 and copied.longest == 15 and copied.holders == (2, 0)  # the one with most of it first
    assert none.share == 0.0 and none.longest == 0 and none.holders == ()
    assert other_case == copied


def test_topic_leaves_out_the_template() -> None:
    assert topic("What are the symptoms of Kaposi's sarcoma?") == topic(
        "Which signs would a person with Kaposi sarcoma show?"
    )
    assert topic("What are the treatments for asthma?") != topic("What are the treatments for gout?")
    assert topic("What causes it?") == frozenset()


def test_near_topics_weighs_rare_words() -> None:
    train = [
        f"What are the symptoms of {name} syndrome?" for name in ("Alport", "Majeed", "Costeff", "Gitelman", "Bartter")
    ]
    found = list(
        near_topics(["Does someone with Gitelman syndrome have symptoms?", "What is Griscelli syndrome?"], train, 0.75)
    )
    assert [(i, j) for i, j, _ in found] == [(0, 3)]


def test_near_texts_returns_exact_similarities() -> None:
    changed = TEXT.replace("sixteen", "seventeen")
    found = list(
        near_texts(Texts([TEXT, "some other words that have nothing to do with it"]), Texts([changed, TEXT]), 3, 0.8)
    )
    assert sorted(found) == [(0, 0, pytest.approx(13 / 15)), (0, 1, 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        "Con\u200bstipation\ufeff?",
        "con\u00adstipation",
        "ＣＯＮＳＴＩＰＡＴＩＯＮ",
        "cónstipàtion",
        "co\u0301nstipation",
        "соnstipаtiоn",  # with Cyrillic letters
        "_constipation_ &nbsp;",
        "\u202econstipation\u202c",
    ],
)
def test_texts_that_look_alike_have_the_same_words(text: str) -> None:
    assert words(text) == ["constipation"]


def test_texts_that_look_different_have_not() -> None:
    assert words("TNF-α of Sjögren") == ["tnf", "α", "of", "sjogren"] and words("α") != words("a")
    assert words("日本語 а") == ["日本語", "a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Question: What is lupus?", True),
        ("What is lupus? Answer:", True),
        ("A leaflet about it.\n\nwhat is  LUPUS", True),
        ("Is it so (what is lupus)? Tell.", True),
        ("What is lupus?", False),  # the very question: another measure finds it
        ("What is lupus nephritis?", False),
        ("What is lupus, infantile form?", False),
        ("Somewhat is lupus?", False),
        ("What is it? Lupus?", False),
    ],
)
def test_a_whole_question_in_a_longer_text(text: str, found: bool) -> None:
    assert list(asked_within(["Gout?", "What is lupus?"], ["nothing", text])) == [(1, 1)] * found


def test_a_question_of_one_or_two_words_is_in_no_text() -> None:
    assert list(asked_within(["Lupus?", "What, lupus?", ""], ["So: what, lupus? Lupus? Yes"])) == []
