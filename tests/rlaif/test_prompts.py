from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.prompts import fill, load_prompt
from rlaif.types import UsageError

GOOD = "---\nname: mine\nkind: policy\n---\n# system\nBe brief.\n\n# user\n{context}\nQuestion: {question}\n"
ANSWER = Path(__file__).parents[2] / "prompts" / "policy" / "answer.md"


def written(folder: Path, text: str) -> Path:
    path = folder / "p.md"
    path.write_text(text, "utf-8")
    return path


def test_a_prompt_file_is_read(tmp_path: Path) -> None:
    prompt = load_prompt(written(tmp_path, GOOD))
    assert (prompt.name, prompt.kind, prompt.system, prompt.user) == (
        "mine",
        "policy",
        "Be brief.",
        "{context}\nQuestion: {question}",
    )
    assert prompt.text == GOOD
    assert prompt.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


def test_line_ends_do_not_change_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "crlf.md"
    path.write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert load_prompt(path).sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


def test_the_shipped_policy_prompt_with_and_without_a_leaflet() -> None:
    prompt = load_prompt(ANSWER)
    assert prompt.kind == "policy" and prompt.system and "{" not in prompt.system
    assert fill(prompt.user, {"question": "What is gout?", "context": ""}) == "Question: What is gout?"
    filled = fill(prompt.user, {"question": "What is gout?", "context": "Gout is ...\nSymptoms: pain."})
    assert filled == "Gout is ...\nSymptoms: pain.\nQuestion: What is gout?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# system\nx\n# user\n{question}\n", "no front matter"),
        (GOOD.replace("name: mine\n", ""), "no 'name'"),
        (GOOD.replace("kind: policy\n", ""), "no 'kind'"),
        (GOOD.replace("kind: policy", "kind: poem"), "kind is 'poem'"),
        (GOOD.replace("name: mine", "name: mine\nname: yours"), "'name' stands twice"),
        (GOOD.replace("name: mine", "name mine"), "line 2: 'name mine' is not 'key: value'"),
        (GOOD.replace("{context}", "{leaflet}"), "unknown placeholder {leaflet} in '# user'"),
        (GOOD.replace("{question}", "it"), "has no {question}"),
        (GOOD.replace("# system\nBe brief.\n", ""), "one '# system' and one '# user'"),
        (GOOD.replace("# system", "Stray.\n# system"), "one '# system' and one '# user'"),
    ],
)
def test_a_broken_file_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_prompt(written(tmp_path, text))
    assert message in str(caught.value) and "p.md" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_bad_bytes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the prompt file"):
        load_prompt(tmp_path / "none.md")
    (tmp_path / "bad.md").write_bytes(b"---\nname: \xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_prompt(tmp_path / "bad.md")


def test_a_relative_path_is_read_here_first_and_then_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = Path("prompts", "policy", "answer.md")
    assert load_prompt(relative).text == ANSWER.read_text("utf-8")
    (tmp_path / relative).parent.mkdir(parents=True)
    (tmp_path / relative).write_text(GOOD, "utf-8")
    assert load_prompt(str(relative)).text == GOOD
    with pytest.raises(UsageError, match=r"^prompts/policy/none\.md: cannot read the prompt file"):
        load_prompt("prompts/policy/none.md")


def test_a_judge_prompt_has_its_own_placeholders(tmp_path: Path) -> None:
    judge = GOOD.replace("policy", "judge").replace("{context}", "{reference} {answer}")
    assert load_prompt(written(tmp_path, judge)).kind == "judge"


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_filling_is_one_pass(question: str, context: str) -> None:
    assert fill("<{context}|{question}>", {"question": question, "context": context}) == f"<{context}|{question}>"


def test_braces_in_values_stay() -> None:
    assert fill("{question} / {context}", {"question": "{context}", "context": "{question}\\1"}) == "{context} / {question}\\1"


def test_a_line_with_only_empty_placeholders_vanishes_with_its_label() -> None:
    assert fill("Leaflet: {context}\n\nQ: {question}", {"question": "a", "context": " \n"}) == "Q: a"
    assert fill("{context} {question}", {"question": "a", "context": ""}) == " a"


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(UsageError, match="{context} has no value; given: question"):
        fill("{context}", {"question": "a"})
