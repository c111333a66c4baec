from __future__ import annotations

import pytest

from rlaif.thoughts import Thought, joined, split


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Rest helps.", Thought("", "Rest helps.", False)),
        (" Rest helps. \n", Thought("", " Rest helps. \n", False)),
        ("", Thought("", "", False)),
        ("<think>perhaps rest</think>\n\nRest helps.", Thought("perhaps rest", "Rest helps.", False)),
        ("perhaps rest\n</think>\n\nRest helps.", Thought("perhaps rest", "Rest helps.", False)),
        ("<think>\n\n</think>\n\nRest helps.", Thought("", "Rest helps.", False)),
        ("<think>one</think><think>two</think>Rest.", Thought("onetwo", "Rest.", False)),
        ("<think>perhaps", Thought("perhaps", "", True)),
        ("<think>one</think> <think>two", Thought("one two", "", True)),
        ("Rest helps. <think>or does it", Thought("or does it", "Rest helps.", False)),
    ],
)
def test_thoughts_and_answer_are_told_apart(text: str, found: Thought) -> None:
    assert split(text) == found


@pytest.mark.parametrize(
    ("prompt", "thoughts", "answer", "text"),
    [
        ("Q<assistant>", "perhaps", "Rest.", "<think>\nperhaps\n</think>\n\nRest."),
        ("Q<assistant><think>\n", "perhaps", "Rest.", "perhaps\n</think>\n\nRest."),
        ("Q<assistant>", "", "Rest.", "Rest."),
        ("Q<assistant><think>\n", "", "Rest.", "\n</think>\n\nRest."),
    ],
)
def test_what_was_written_is_put_together_again(prompt: str, thoughts: str, answer: str, text: str) -> None:
    assert joined(prompt, thoughts, answer) == text
    assert split(text)[:2] == (thoughts, answer)
