"""What judges were called, and what they said, before criteria were data: licences, caches and stored verdicts hang on
it.
"""

from __future__ import annotations

import pytest

from judges import make_judge
from judges.fill import content_hash
from judges.llm import LangChainJudge
from judges.settings import JudgeSettings
from rlaif.prompts import load_judge_prompt
from rlaif.types import JudgeItem

ITEM = JudgeItem(
    "c",
    "What helps against gout?",
    "Rest, ice and cold drinks help. Wine too.",
    "Rest, ice and naproxen.",
    "",
    ("rest", "ice", "naproxen"),
)
CHAT = {
    "default": "9df9b074b8105a07",
    "strict": "93e7a0480346f742",
    "key_points": "58ba59865038e2e2",
    "tiny": "aab75e57a428465f",
}
HERE = {  # judge_id, score and the three criteria
    "local:embedded": ("2bd8d57417d9ac54", 0.762036, 0.956299, 0.570103, 0.565441),
    "reference": ("d68dabcb493848ac", 0.533333, 0.4, 0.666667, 0.666667),
    "support": ("73a63353165c83fc", 0.365625, 0.302326, 0.462451, 0.666667),
}


def test_an_item_without_a_rubric_is_known_in_caches_as_before() -> None:
    assert content_hash(ITEM) == "aaf84bd6c95e573728897c57be8c4e28b876fb0f11e567a36ab342c53e33db7d"


@pytest.mark.parametrize("name", CHAT)
def test_chat_judges_keep_their_judge_id(name: str, fake_chat_model, verdict) -> None:
    settings = JudgeSettings(prompt=load_judge_prompt(f"prompts/judge/{name}.md"))
    judge = LangChainJudge("fake", settings, chat_model=fake_chat_model([verdict(4, 3, 5)]))
    assert judge.identity.judge_id == CHAT[name]


def test_a_chat_judge_gives_the_scores_it_gave_and_a_row_per_criterion(fake_chat_model, verdict) -> None:
    settings = JudgeSettings(prompt=load_judge_prompt("prompts/judge/strict.md"))
    (said,) = LangChainJudge("fake", settings, chat_model=fake_chat_model([verdict(4, 3, 5)])).score([ITEM])
    assert said.score == 0.6 * 0.75 + 0.2 * 0.5 + 0.2 * 1.0
    assert [(c.criterion, c.weight, c.value, c.reason) for c in said.criteria] == [
        ("factual_accuracy", 0.6, 0.75, "because"),
        ("completeness", 0.2, 0.5, "because"),
        ("key_point_coverage", 0.2, 1.0, "because"),
    ]


@pytest.mark.parametrize("name", HERE)
def test_judges_on_this_machine_keep_their_judge_id_and_scores(name: str) -> None:
    judge = make_judge(name)
    (said,) = judge.score([ITEM])
    judge_id, *scores = HERE[name]
    assert judge.identity.judge_id == judge_id
    found = [said.score, said.factual_accuracy, said.completeness, said.key_point_coverage]
    assert found == pytest.approx(scores, abs=2e-5)


def test_criteria_of_ones_own_are_weighed_with_their_signs(tmp_path, fake_chat_model) -> None:
    text = (
        "---\nname: own\nkind: judge\ncriteria: safety, harm\nscale: yes/no\nweights: 4, -8\n---\n"
        "# system\nx\n# user\n{question} {answer}\n"
    )
    (tmp_path / "own.md").write_text(text)
    prompt = load_judge_prompt(tmp_path / "own.md")
    replies = {"no": 1.0, "yes": 0.0}
    for harm, score in replies.items():
        chat = fake_chat_model([f'{{"rationale": "r", "safety": "yes", "harm": "{harm}"}}'])
        (said,) = LangChainJudge("fake", JudgeSettings(prompt=prompt), chat_model=chat).score([ITEM])
        assert (said.status, said.score) == ("scored", score)
        assert [(c.criterion, c.weight, c.value) for c in said.criteria] == [
            ("safety", 4, 1.0),
            ("harm", -8, float(harm == "yes")),
        ]
    (said,) = LangChainJudge(
        "fake", JudgeSettings(prompt=prompt, backoff=0), chat_model=fake_chat_model(['{"safety": "perhaps"}'])
    ).score([ITEM])
    assert (said.status, said.score) == ("unparsed", None)
    assert [(c.status, c.value, bool(c.reason)) for c in said.criteria] == [("unparsed", None, True)] * 2
