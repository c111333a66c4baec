import sys

import pytest

from rlaif import wording as words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.12345, "0.123"),
        (-0.0001, "0.000"),
        (-0.5, "−0.500"),
        (1234.5, "1,234.500"),
        (-1234.0, "−1,234.000"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ((660, 7100), "between 660 and 7,100 items would settle it"),
        ([1100, None], "it would take more than 1,100 items, twice these, to settle it"),
        (1670, "about 1,700 items would settle it"),
        (None, "these items do not say how many would settle it"),
    ],
)
def test_items_that_would_settle_it(items: tuple[int, int | None] | None, text: str) -> None:
    assert words.items_words(items) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "+0.012"), (0.0, "0.000"), (0.0001, "0.000"), (-0.0123, "−0.012"), (None, "–")]
)
def test_signed(value: float | None, text: str) -> None:
    assert words.signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.00001, "< 0.0001"), (0.00432, "0.0043"), (0.0432, "0.043"), (1.0, "1.000"), (None, "–")]
)
def test_p_value(value: float | None, text: str) -> None:
    assert words.p_value(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read /home/someone/run/rlaif.duckdb: gone", "cannot read …/rlaif.duckdb: gone"),
        ("asked http://judge.internal:8000/v1 twice", "asked (address) twice"),
        ("https://user:secret@host/x", "(address)"),
        (r"C:\Users\someone\x.toml is bad", "…/x.toml is bad"),
        ("~/runs/a", "…/a"),
        ("prompts/judge/strict.md, and/or 2/3 of 0.67-1.50", "prompts/judge/strict.md, and/or 2/3 of 0.67-1.50"),
        ("chosen/rejected ratio", "chosen/rejected ratio"),
    ],
)
def test_hide_places(text: str, shown: str) -> None:
    assert words.hide_places(text) == shown


def test_a_command_line_shows_no_folder_and_no_address() -> None:
    argv = [
        "loop",
        "--run",
        "/home/some one/r",
        "--set",
        "model.path=/data/my model",
        "--set",
        "judge.base_url=localhost:8000",
        "--rounds",
        "2",
    ]
    assert words.command(argv) == "loop --run …/r --set model.path=…/my model --set judge.base_url=(set) --rounds 2"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("model.path", "/a b/c", '"…/c"'),
        ("judge.base_url", "localhost:1/v1", "(set)"),
        ("judge.base_url", "", '""'),
        ("model.trust_remote_code", False, "false"),
        ("dpo.beta", 0.1, "0.1"),
        ("model.target_modules", ["q", "/x/k"], '["q", "…/k"]'),
    ],
)
def test_setting(key: str, value: object, text: str) -> None:
    assert words.setting(key, value) == text


def test_policies_that_would_be_called_the_same_keep_the_beginning_of_their_id() -> None:
    policies = [
        {"policy_id": i * 16, "kind": kind, "round": round}
        for i, kind, round in (("a", "base", 0), ("b", "dpo", 2), ("c", "dpo", 2))
    ]
    assert words.policy_names(policies) == {
        "a" * 16: "base",
        "b" * 16: "round 2 (bbbbbbbb)",
        "c" * 16: "round 2 (cccccccc)",
    }


def test_join_and_control_characters() -> None:
    assert [words.join(["a"]), words.join(["a", "b"]), words.join(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert words.printable("a\x00b\x1b[31m\n\t") == "a�b�[31m\n\t"
    for steering in "\x7f\x85\x9b\u061c\u200e\u200f\u202a\u202e\u2066\u2069":
        assert words.printable(f"a{steering}b") == "a�b", ascii(steering)


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (6, "6"), (True, "true"), (False, "false"), ("cut", "cut")]
)
def test_a_setting_is_written_as_in_a_profile(value, text):
    assert words.setting_words(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4278 kinds in 9809, the champion", "4,278 kinds in 9,809, the champion"),
        ("n=12345; 999 of 1000", "n=12,345; 999 of 1,000"),
        ("0.12345 and 1234.5, 2026-11-27 18:24, id 10756775cafe, 1,234, port:8000, a/1234", None),
    ],
)
def test_thousands_are_separated_and_nothing_else(text: str, shown: str | None) -> None:
    assert words.thousands(text) == (shown or text)


@pytest.mark.parametrize(
    ("called", "text"),
    [
        ("cli.py", "python cli.py"),
        ("/a b/cli.py", "python '/a b/cli.py'"),
        ("/x/bin/rlaif", "rlaif"),
        ("/x/rlaif/__main__.py", "python -m rlaif"),
        ("/x/pytest/__main__.py", "rlaif"),
        ("-c", "rlaif"),
        ("", "rlaif"),
    ],
)
def test_a_command_is_told_as_this_one_was_typed(monkeypatch: pytest.MonkeyPatch, called: str, text: str) -> None:
    monkeypatch.setattr(sys, "argv", [called, "init"])
    assert words.program() == text
