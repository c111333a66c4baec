from __future__ import annotations

import json

import pytest

from judges.rubric.parse import read_all, read_some, schema, wanted


def reply(*verdicts: tuple[int, str]) -> str:
    return json.dumps({"verdicts": [{"criterion": n, "reason": f"why {n}", "met": met} for n, met in verdicts]})


def test_all_criteria_in_any_order() -> None:
    assert read_all(reply((2, "no"), (1, "yes")), 2) == ((True, "why 1"), (False, "why 2"))


@pytest.mark.parametrize(
    "text",
    [
        f"Here it is:\n```json\n{reply((1, 'yes'))}\n```",
        f"<think>{reply((1, 'no'))}</think>{reply((1, 'yes'))}",
        '{"criterion": 1, "met": true, "explanation": "x"}',
        '{"met": "Yes.", "quote": "x"}',
        '{"verdicts": [{"criterion": "1", "met": "yes"}]}',
    ],
)
def test_the_same_in_other_clothes(text: str) -> None:
    found = read_all(text, 1)
    assert isinstance(found, tuple) and found[0] is not None and found[0][0] is True


@pytest.mark.parametrize(
    ("text", "n", "why"),
    [
        (reply((1, "yes")), 2, "no verdict on criterion 2 of 2"),
        (reply((1, "yes"), (1, "no")), 1, "it is said to be met and not met"),
        (reply((1, "mostly")), 1, "'criterion 1' is 'mostly', not yes or no"),
        (reply((1, "yes"), (3, "yes")), 2, "no verdict on criterion 2"),
        ('{"verdicts": [{"met": "yes"}, {"met": "no"}]}', 2, "no verdict on criterion 1"),
        ('{"verdicts": [{"criterion": 1, "met": 1}]}', 1, "not yes or no"),
        ("yes", 1, "no JSON object with 'verdicts'"),
        ("<think>" + reply((1, "yes")), 1, "no JSON object"),
    ],
)
def test_nothing_is_guessed(text: str, n: int, why: str) -> None:
    found = read_all(text, n)
    assert isinstance(found, str) and why in found


def test_what_can_be_read_is_kept_in_the_end() -> None:
    assert read_some(reply((2, "no"), (1, "perhaps")), 3) == (None, (False, "why 2"), None)
    assert isinstance(read_some(reply((1, "perhaps")), 1), str)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_the_schema_asks_for_one_entry_per_criterion(n: int) -> None:
    fields = schema(n)["properties"]["verdicts"]
    assert (fields["minItems"], fields["maxItems"]) == (n, n)
    assert "met" in wanted(n) and (str(n) in wanted(n)) == (n > 1)
