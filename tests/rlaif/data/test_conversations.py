"""One row of preferences in the shapes that public sets have it in: the same texts from each, or said to be no pair."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rlaif.data.conversations import PairTexts, read_pair
from rlaif.data.tables import Table
from rlaif.types import DataError

ASK, GOOD, BAD = "What helps?", "Rest.", "Work."


def user(text: str = ASK) -> dict[str, str]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}


def read(**row: Any) -> PairTexts:
    return read_pair(Table("t", [row], tuple(row)), 0)


def numpy_like(turns: list[dict[str, str]]) -> str:
    """What pandas writes of a Parquet file's list: no comma between the messages."""
    return "[" + "\n ".join(map(repr, turns)) + "]"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASK, "chosen": f" {GOOD}", "rejected": BAD},
        {"prompt": [user()], "chosen": [says(GOOD)], "rejected": [says(BAD)]},
        {"prompt": [SYSTEM, user()], "chosen": [says(GOOD)], "rejected": [says(BAD)]},
        {"prompt": ASK, "chosen": [user(), says(GOOD)], "rejected": [user(), says(BAD)]},
        {"chosen": [user(), says(GOOD)], "rejected": [user(), says(BAD)]},
        {"chosen": [SYSTEM, user(), says(GOOD)], "rejected": [user(), says(BAD)]},
        {"prompt": ASK, "chosen": [says(GOOD), user("Thanks.")], "rejected": [says(BAD), user("Sure?"), user("Hm.")]},
        {"prompt": ASK, "chosen": [user(), says(GOOD), user("Thanks.")], "rejected": BAD},
        {"prompt": ASK, "chosen": str([user(), says(GOOD)]), "rejected": str([user(), says(BAD)])},
        {"prompt": json.dumps([user()]), "chosen": json.dumps([says(GOOD)]), "rejected": json.dumps([says(BAD)])},
        {"prompt": ASK, "chosen": json.dumps(json.dumps([says(GOOD)])), "rejected": BAD},
        {"prompt": ASK, "chosen": [{"from": "gpt", "value": GOOD}], "rejected": [{"from": "GPT", "value": BAD}]},
        {"chosen": f"\n\nHuman: {ASK}\n\nAssistant: {GOOD}", "rejected": f"\n\nHuman: {ASK}\n\nAssistant: {BAD}"},
        {"prompt": f"\n\nHuman: {ASK}\n\nAssistant:", "chosen": GOOD, "rejected": BAD},
        {"question": ASK, "prompt": [SYSTEM, user(f"Question: {ASK}\nAnswer:")], "chosen": GOOD, "rejected": BAD},
    ],
)
def test_one_pair_in_many_shapes(row: dict[str, Any]) -> None:
    pair = read(**row)
    assert (pair.question, pair.chosen, pair.rejected, pair.problem) == (ASK, GOOD, BAD, "")


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [user(), says(GOOD)], "rejected": [user("What hurts?"), says(BAD)]},
        {"prompt": ASK, "chosen": [user(), says(GOOD)], "rejected": [user("What hurts?"), says(BAD)]},
        {"prompt": ASK, "chosen": [user("What hurts?"), says(GOOD)], "rejected": [user("What hurts?"), says(BAD)]},
        {"prompt": ASK, "chosen": GOOD, "rejected": [user("What hurts?"), says(BAD)]},
        {"prompt": ASK, "chosen": [user(), says(GOOD), user("And then?"), says("Tea.")], "rejected": [says(BAD)]},
        {"prompt": [user()], "chosen": [says(GOOD), user("And then?"), says("Tea.")], "rejected": [says(BAD)]},
        {"prompt": ASK, "chosen": str([user("What hurts?"), says(GOOD)]), "rejected": BAD},
        {"question": ASK, "prompt": [user("What hurts?")], "chosen": GOOD, "rejected": BAD},
        {"question": ASK, "chosen": [user("What hurts?"), says(GOOD)], "rejected": BAD},
        {"chosen": f"Human: {ASK}\n\nAssistant: {GOOD}", "rejected": f"Human: What hurts?\n\nAssistant: {BAD}"},
    ],
)
def test_answers_to_different_questions(row: dict[str, Any]) -> None:
    assert read(**row).problem.startswith("two_prompts: ")


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("turns", [[user("Rest.")], [SYSTEM], [user(), SYSTEM], str([user("Rest.")])])
def test_a_conversation_in_which_the_assistant_says_nothing(side: str, turns: Any) -> None:
    pair = read(**{"prompt": ASK, "chosen": [says(GOOD)], "rejected": [says(BAD)], side: turns})
    assert pair.problem == f"roles: {side} has no turn by the assistant"


def test_several_turns_that_both_answers_share() -> None:
    before = [user("I am ill."), says("I am sorry."), user()]
    pair = read(prompt=ASK, chosen=[*before, says(GOOD)], rejected=[*before, says(BAD)])
    assert (pair.question, pair.problem) == (f"I am ill.\n\nI am sorry.\n\n{ASK}", "")
    assert pair.question == read(prompt=before, chosen=GOOD, rejected=BAD).question


def test_what_was_asked_holds_every_text_before_the_answers() -> None:
    pair = read(question=ASK, context="A leaflet.", prompt=[SYSTEM, user()], chosen=[user(), says(GOOD)], rejected=BAD)
    assert pair.asked == f"{ASK}\nA leaflet.\nBe brief."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"role": "critic", "content": "no"}], "has a turn by 'critic'; needed user, assistant or system"),
        ([{"role": "assistant", "content": None}], "is no list of messages"),
        ([{"role": "assistant", "content": [{"type": "text", "text": "Rest."}]}], "is no list of messages"),
        ([], "is no list of messages"),
        (["Rest."], "is no list of messages"),
        ({"role": "assistant", "content": "Rest."}, "is dict"),
        (numpy_like([user(), says(GOOD)]), "is a list of messages written as text that cannot be read"),
        (str([user(), says(GOOD)])[:-3], "is a list of messages written as text that cannot be read"),
        ("X" + str([user(), says(GOOD)])[1:], "is a list of messages written as text that cannot be read"),
        (str([user(), says(GOOD)])[1:], "is a list of messages written as text that cannot be read"),
        (str([user(), says(GOOD)]).replace("role'", "role9", 1), "is a list of messages written as text that cannot"),
        ("['Rest.', 'Tea.", "is a list of messages written as text that cannot be read"),
        (str(says(GOOD)), "is a list of messages written as text that cannot be read"),
        ("[Message(role='assistant', content='Rest.')]", "is a list of messages written as text that cannot be read"),
        ("['Rest.', 'Tea.']", "is no list of messages"),
        ([says(" ")], "is empty"),
        (" ", "is empty"),
        (None, "is null"),
        (5, "is int"),
    ],
)
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_cell_that_is_no_answer(side: str, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"^t row 1: {side} ") as caught:
        read(**{"prompt": ASK, "chosen": GOOD, "rejected": BAD, side: value})
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["[Note] Rest.", "[1] Rest helps [2]", "{sic} rest", "content: rest", "From: Dr. Tea"])
def test_a_text_with_brackets_is_a_text(text: str) -> None:
    assert read(prompt=ASK, chosen=text, rejected=BAD).chosen == text
