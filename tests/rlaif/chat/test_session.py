"""The parts of `chat` that need no model: what is shown of a text, which question is a known one, what the commands
refuse.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from rlaif.chat.answerer import find_policy, prompt_of, remembered
from rlaif.chat.judge_answer import known_question
from rlaif.chat.session import Answered, Session, converse, obey, show_growing
from rlaif.chat.terminal import in_words, read_context, side_by_side, valid_text
from rlaif.prompts import Prompt
from rlaif.types import Question, UsageError, Verdict

EVIL = "[bold]a[/bold] \x1b[31mred\x1b[0m\x07 \u202eback :warning: [link=x]"
SHOWN = "[bold]a[/bold] \ufffd[31mred\ufffd[0m\ufffd \ufffdback :warning: [link=x]"


def session(**answerer: Any) -> tuple[Session, io.StringIO]:
    out = io.StringIO()
    who = SimpleNamespace(run=None, champion="base", **answerer)
    return Session(
        who, {"policy_id": "base", "kind": "base", "round": 0}, "", Console(file=out, width=200, highlight=False)
    ), out


def said(*texts: str) -> list[Any]:
    return [SimpleNamespace(text=text, n_tokens=i, finish_reason="") for i, text in enumerate(texts, start=1)]


def test_what_a_model_says_is_shown_as_plain_characters() -> None:
    talk, out = session()
    show_growing(talk, iter(said(EVIL[:3], EVIL[:20], EVIL)))
    assert out.getvalue() == SHOWN + "\n"
    out.truncate(0)
    talk.console.print(side_by_side([EVIL, "b"], [EVIL, "c"]))
    assert out.getvalue().count(SHOWN) == 2 and "\x1b" not in out.getvalue()


def test_an_answer_that_is_stopped_is_the_last_answer_all_the_same() -> None:
    def stopped() -> Any:
        yield from said("A", "A cold")
        raise KeyboardInterrupt

    talk, out = session()
    with pytest.raises(KeyboardInterrupt):
        show_growing(talk, stopped(), Answered("base", "What?", "", ""))
    assert talk.last == (Answered("base", "What?", "", "A cold"),) and out.getvalue() == "A cold"


def question(text: str, split: str = "gate", context: str = "") -> Question:
    return Question(text[:4], "medquad_style", split, "", "", text, context, "a reference")  # type: ignore[arg-type]


KNOWN = [
    question("What is a stye?"),
    question("What is gout?", "sealed"),
    question("What is croup?", context="Leaflet one."),
    question("What is croup?", context="Leaflet two."),
]


@pytest.mark.parametrize(
    ("asked", "context", "found"),
    [
        ("what is A STYE", "", KNOWN[0]),
        ("What is croup?", "leaflet two", KNOWN[3]),
        ("What is croup?", "", KNOWN[2]),  # answered without the leaflet: the reference is still right
        ("What is croup?", "another text", "another text as its context"),
        ("What is a style?", "", "the nearest of them is 'What is a stye?'"),
        ("Hello", "", "this is none of the known questions"),
        ("What is goat?", "", "this is none of the known questions"),  # nothing is said of sealed questions
    ],
)
def test_a_known_question_is_found_or_it_says_why_not(asked: str, context: str, found: Question | str) -> None:
    got = known_question(KNOWN, asked, context)
    assert found in got if isinstance(found, str) and isinstance(got, str) else got is found
    assert "gout" not in str(got)


def test_the_sealed_test_stays_sealed() -> None:
    with pytest.raises(UsageError, match="sealed test"):
        known_question(KNOWN, "what is gout", "")


def test_context_is_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" two\nlines \n", "utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    assert read_context("as it stands") == "as it stands"
    assert read_context(f"@{tmp_path}/a.txt") == "two\nlines"
    for name in ("b.txt", "none.txt", ""):
        with pytest.raises(UsageError, match="cannot read the context"):
            read_context(f"@{tmp_path}/{name}")


def test_verdicts_in_words() -> None:
    assert in_words(Verdict("c", "j", 0, "failed", reason="nobody home")) == "failed: nobody home"
    assert (
        in_words(Verdict("c", "j", 0, "scored", 0.5, 0.25, 1.0, None, "so so"))
        == "score 0.50 (factual accuracy 0.25, completeness 1.00). so so"
    )


def test_what_cannot_be_done_is_said_and_the_session_goes_on() -> None:
    talk, out = session(config=SimpleNamespace(evaluation=SimpleNamespace(max_new_tokens=9)))
    lines: list[Any] = [
        "",
        "/wy",
        "/why",
        "/both",
        "/policy nobody",
        KeyboardInterrupt(),
        "/context @none",
        "/help",
        "/quit",
        "not read",
    ]

    def read(prompt: str) -> str:
        assert prompt == "base> "
        line = lines.pop(0)
        if isinstance(line, BaseException):
            raise line
        return str(line)

    converse(talk, read)
    assert lines == ["not read"]
    for words in (
        "did you mean '/why'",
        "there is no answer yet",
        "no last question",
        "only the embedded base",
        "none: cannot read",
        "/policy [",
    ):
        assert words in out.getvalue()
    with pytest.raises(UsageError):
        obey(talk, "/nothing")
    with pytest.raises(UsageError):
        find_policy(talk.answerer, "champion")
    assert valid_text("a\udcffb") == "a?b"


class Talk:
    """A session whose answers are counted, and what each was asked with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reads: int) -> None:
        self.session, self.out = session()
        self.asked: list[tuple[str, str, tuple[Any, ...]]] = []

        def answer(answerer: Any, policy: Any, question: str, context: str = "", said: Any = ()) -> Any:
            self.asked.append((question, context, tuple(said)))
            return iter([SimpleNamespace(text=f"{len(self.asked)}.", n_tokens=1, finish_reason="stop")])

        monkeypatch.setattr("rlaif.chat.session.answer", answer)
        monkeypatch.setattr("rlaif.chat.session.remembered", lambda a, p, q, c, said: said[-reads:])


def test_a_session_is_one_conversation_until_new(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(monkeypatch, reads=9)
    for line in (
        "What is gout?",
        "/context A leaflet.",
        "Does it hurt?",
        "/both",
        "And now?",
        "/new",
        "What is a cold?",
    ):
        obey(talk.session, line)
    first, second = ("What is gout?", "", "1."), ("Does it hurt?", "A leaflet.", "2.")
    assert talk.asked == [
        ("What is gout?", "", ()),
        ("Does it hurt?", "A leaflet.", (first,)),
        ("Does it hurt?", "A leaflet.", ()),  # /both is a question alone, and no turn
        ("And now?", "A leaflet.", (first, second)),
        ("What is a cold?", "A leaflet.", ()),
    ]
    assert "a new conversation" in talk.out.getvalue()


def test_what_cannot_be_read_any_more_is_forgotten_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(monkeypatch, reads=1)
    for question in ("a", "b", "c"):
        obey(talk.session, question)
    assert [len(said) for _, _, said in talk.asked] == [0, 1, 1] and talk.asked[2][2] == (("b", "", "2."),)
    assert talk.out.getvalue().count("the first turn is forgotten") == 1


def test_an_answer_that_is_stopped_is_a_turn_and_one_that_never_began_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(monkeypatch, reads=9)

    def stopped(*texts: str) -> Any:
        yield from said(*texts)
        raise KeyboardInterrupt

    for texts in (("A co",), ()):
        monkeypatch.setattr("rlaif.chat.session.answer", lambda *_, texts=texts: stopped(*texts))
        with pytest.raises(KeyboardInterrupt):
            obey(talk.session, "What?")
        assert talk.session.said == (("What?", "", "A co"),)


@pytest.mark.slow  # what it patches brings torch
def test_a_conversation_is_cut_at_its_beginning_to_what_the_model_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    words = SimpleNamespace(chat_template=None, encode=lambda text, **_: text.split())
    prompt = Prompt("p", "policy", "S", "{context} {question}", "", "")
    config = SimpleNamespace(evaluation=SimpleNamespace(max_new_tokens=10))
    who: Any = SimpleNamespace(base=SimpleNamespace(tokenizer=words), prompt=prompt, config=config, models={"m": None})
    turns = [("old old old", "", "x"), ("before", "leaf", "y")]
    assert prompt_of(who, "now", "leaf", turns[1:]) == "S\n\n before\n\nAnswer:y\n\nleaf now\n\nAnswer:"
    whole = len(prompt_of(who, "now", "leaf", turns).split())
    for reads, kept in ((whole, turns), (whole - 1, turns[1:]), (1, [])):
        monkeypatch.setattr("rlaif.models.generate.window", lambda model, reads=reads: reads + 10)
        assert list(remembered(who, {"policy_id": "m"}, "now", "leaf", turns)) == kept
