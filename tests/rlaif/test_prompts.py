from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.prompts import fill, load_judge_prompt, load_prompt
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


def test_a_relative_path_is_read_here_first_and_then_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


JUDGE = """---
name: mine
kind: judge
mode: pointwise
criteria: factual_accuracy, completeness
scale: 1-5
weights: 0.75, 0.25
---
# system
Mark.
# user
{question}
{answer}
"""


def test_a_judge_prompt_is_read(tmp_path: Path) -> None:
    prompt = load_judge_prompt(written(tmp_path, JUDGE))
    assert (prompt.name, prompt.mode, prompt.criteria, prompt.scale) == (
        "mine",
        "pointwise",
        ("factual_accuracy", "completeness"),
        (1, 5),
    )
    assert (prompt.weights, prompt.system, prompt.user) == ((0.75, 0.25), "Mark.", "{question}\n{answer}")
    assert (prompt.text, prompt.sha256) == (JUDGE, hashlib.sha256(JUDGE.encode()).hexdigest())
    same = load_judge_prompt(
        written(
            tmp_path,
            JUDGE.replace("0.75, 0.25", "[0.75, 0.25]").replace("1-5", "0 to 10").replace("mode: pointwise\n", ""),
        )
    )
    assert (same.weights, same.scale, same.mode) == ((0.75, 0.25), (0, 10), "pointwise")


def test_the_shipped_judge_prompts() -> None:
    folder = ANSWER.parents[1] / "judge"
    prompts = {path.stem: load_judge_prompt(path) for path in folder.glob("*.md")}
    modes = {"default": "pointwise", "strict": "pointwise", "key_points": "key_points", "pairwise": "pairwise"}
    assert {name: prompts[name].mode for name in modes} == modes and all(p.name == stem for stem, p in prompts.items())
    assert prompts["default"].weights == (0.5, 0.25, 0.25) and len({p.sha256 for p in prompts.values()}) == len(prompts)
    assert all("{nonce}" in prompts[name].user for name in modes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: judge", "kind: policy", "this is a policy prompt"),
        ("mode: pointwise", "mode: listwise", "mode is 'listwise'; it must be one of pointwise, key_points, pairwise"),
        ("scale: 1-5\n", "", "no 'scale'"),
        ("criteria: factual_accuracy, completeness\n", "", "no 'criteria'"),
        ("weights: 0.75, 0.25\n", "", "no 'weights'"),
        ("scale: 1-5", "scale: 1-5\ntemperature: 1", "unknown key 'temperature'"),
        ("scale: 1-5", "scale: 5", "scale is '5'"),
        ("scale: 1-5", "scale: 5-1", "scale is '5-1'"),
        ("scale: 1-5", "scale: 0.0-1.0", "whole numbers"),
        ("0.75, 0.25", "1.0", "write 2 numbers"),
        ("0.75, 0.25", "-1.5, -0.5", "have none above 0"),
        ("0.75, 0.25", "0, -1", "have none above 0"),
        ("0.75, 0.25", "most, some", "write 2 numbers"),
        ("0.75, 0.25", "nan, 0.25", "write 2 numbers"),
        ("0.75, 0.25", "inf, 0.25", "write 2 numbers"),
        ("factual_accuracy,", "Is it safe?,", "'Is it safe?' cannot be the key of a reply"),
        ("factual_accuracy,", "rationale,", "'rationale' cannot be the key of a reply"),
        ("factual_accuracy,", "completeness,", "'completeness' stands twice"),
        ("{answer}", "{answr}", "unknown placeholder {answr}"),
        ("{answer}", "{answer_a}", "unknown placeholder {answer_a}"),
        ("{answer}", "it", "has no {answer}"),
        ("mode: pointwise", "mode: key_points", "needs 'scale: 0-1'"),
        ("mode: pointwise", "mode: pairwise", "unknown key 'criteria'"),
    ],
)
def test_a_broken_judge_prompt_says_what_and_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in JUDGE
    with pytest.raises(UsageError) as caught:
        load_judge_prompt(written(tmp_path, JUDGE.replace(old, new)))
    assert message in str(caught.value) and "p.md" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("tokens", [0, 1, 512])
def test_a_policy_prompt_says_how_long_the_policy_may_think(tmp_path: Path, tokens: int) -> None:
    text = f"---\nname: p\nkind: policy\nthinking: {tokens}\n---\n# system\nx\n# user\n{{question}}\n"
    assert load_prompt(written(tmp_path, text)).thinking == tokens
    broken = [text.replace(f"thinking: {tokens}", f"thinking: {value}") for value in ("long", "-5", "1e3")]
    broken += [text.replace("kind: policy", "kind: policy\nformat: raw")] if tokens else []
    for bad in broken:
        with pytest.raises(UsageError, match="thinking is"):
            load_prompt(written(tmp_path, bad))


@pytest.mark.parametrize(
    ("names", "weights"),
    [("safety, readability", "0.7, 0.3"), ("safety, harm, tone", "5, -8, 1"), ("safety", "2"), ("a, b", "1.5, -0.5")],
)
def test_criteria_have_any_names_and_points(tmp_path: Path, names: str, weights: str) -> None:
    text = JUDGE.replace("factual_accuracy, completeness", names).replace("0.75, 0.25", weights)
    prompt = load_judge_prompt(written(tmp_path, text))
    assert ", ".join(prompt.criteria) == names and prompt.weights == tuple(map(float, weights.split(",")))
    assert load_judge_prompt(written(tmp_path, text.replace("scale: 1-5", "scale: yes/no"))).yes_no


RUBRIC = (
    "---\nname: r\nkind: judge\nmode: rubric\nper_call: 3\n---\n# system\nx\n# criteria\n- safety (5): Says when to "
    "go to a doctor (soon).\n- dose (-8): Names a wrong dose.\n# user\n{question} {criteria} {answer}\n"
)


def test_a_rubric_prompt_has_criteria_of_its_own(tmp_path: Path) -> None:
    prompt = load_judge_prompt(written(tmp_path, RUBRIC))
    assert [(c.category, c.weight, c.text) for c in prompt.rubric] == [
        ("safety", 5, "Says when to go to a doctor (soon)."),
        ("dose", -8, "Names a wrong dose."),
    ]
    assert (prompt.mode, prompt.per_call, prompt.yes_no) == ("rubric", 3, True)
    assert "criteria" not in prompt.system + prompt.user.replace("{criteria}", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(5):", "(much):", "is no criterion; write '- name (points): text'"),
        ("(5):", "(0):", "is no criterion"),
        ("Names a wrong dose.", "Says when to go to a doctor (soon).", "stands twice"),
        ("{criteria}", "them", "has no {criteria}"),
        ("per_call: 3", "per_call: none", "per_call is 'none'"),
        ("per_call: 3\n", "", "has no 'per_call'"),
        ("mode: rubric\nper_call: 3", "mode: pairwise", "is of prompts with 'mode: rubric'"),
        ("per_call: 3", "per_call: 3\nscale: 1-5", "unknown key 'scale'"),
        ("# criteria", "# criteria\n- a (1): b\n# criteria", "found parts"),
    ],
)
def test_a_broken_rubric_prompt_says_what_and_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RUBRIC
    with pytest.raises(UsageError) as caught:
        load_judge_prompt(written(tmp_path, RUBRIC.replace(old, new)))
    assert message in str(caught.value) and "p.md" in str(caught.value) and "\n" not in str(caught.value)


def test_a_pairwise_prompt_needs_both_answers(tmp_path: Path) -> None:
    text = "---\nname: p\nkind: judge\nmode: pairwise\n---\n# system\nx\n# user\n{question} {answer_a} {answer_b}\n"
    assert load_judge_prompt(written(tmp_path, text)).criteria == ()
    with pytest.raises(UsageError, match="has no {answer_b}"):
        load_judge_prompt(written(tmp_path, text.replace("{answer_b}", "")))


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_filling_is_one_pass(question: str, context: str) -> None:
    assert fill("<{context}|{question}>", {"question": question, "context": context}) == f"<{context}|{question}>"


def test_braces_in_values_stay() -> None:
    assert (
        fill("{question} / {context}", {"question": "{context}", "context": "{question}\\1"})
        == "{context} / {question}\\1"
    )


def test_a_line_with_only_empty_placeholders_vanishes_with_its_label() -> None:
    assert fill("Leaflet: {context}\n\nQ: {question}", {"question": "a", "context": " \n"}) == "Q: a"
    assert fill("{context} {question}", {"question": "a", "context": ""}) == " a"


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(UsageError, match="{context} has no value; given: question"):
        fill("{context}", {"question": "a"})


def test_a_policy_prompt_is_raw_only_where_it_says_so(tmp_path: Path) -> None:
    def text(line: str) -> str:
        return f"---\nname: a\nkind: policy\n{line}---\n# system\nBe brief.\n# user\n{{qtype}}: {{question}}\n"

    assert load_prompt(written(tmp_path, text("format: raw\n"))).raw
    assert (
        not load_prompt(written(tmp_path, text(""))).raw
        and not load_prompt(written(tmp_path, text("format: chat\n"))).raw
    )
    with pytest.raises(UsageError, match="format is 'alpaca'; it must be chat or raw"):
        load_prompt(written(tmp_path, text("format: alpaca\n")))
