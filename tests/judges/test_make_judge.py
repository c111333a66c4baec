from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from judges import check_model, make_judge
from judges.chat_models import endpoint, is_loopback
from judges.jury import Jury
from judges.llm import LangChainJudge
from judges.settings import JudgeSettings
from rlaif.types import UsageError

LOCAL = JudgeSettings(base_url="http://127.0.0.1:9/v1")


def test_reference_is_made() -> None:
    assert make_judge("reference").identity.model == "reference"


@pytest.mark.parametrize("name", ["gpt-4o", "", "Reference", "opnai:gpt-4o", "openai:", ":x"])
def test_any_other_name_says_what_there_is(name: str) -> None:
    with pytest.raises(
        UsageError,
        match="names no judge; use 'reference', 'support', .* such as .* judge.base_url, or 'module:object' ",
    ) as caught:
        make_judge(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("tiny", "openai:tiny"),
        ("qwen3:8b", "openai:qwen3:8b"),
        ("openai:a/b:c", "openai:a/b:c"),
        (" tiny ", "openai:tiny"),
    ],
)
def test_a_served_model(monkeypatch: pytest.MonkeyPatch, name: str, model: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    judge = make_judge(name, LOCAL)
    assert isinstance(judge, LangChainJudge)
    assert (judge.identity.model, judge.endpoint.host, judge.endpoint.local) == (model, "127.0.0.1:9", True)
    assert judge.identity.prompt_name == "default" and "127.0.0.1" not in repr(judge.identity)


def test_a_model_served_at_several_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    one, two = "http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"

    def made(**where: Any) -> LangChainJudge:
        judge = make_judge("tiny", JudgeSettings(**where))
        assert isinstance(judge, LangChainJudge)
        return judge

    both = made(urls=(one, two))
    assert (both.endpoint.host, both.endpoint.local) == ("127.0.0.1:9 and 127.0.0.1:10", True)
    assert [place.host for place in both.endpoints] == ["127.0.0.1:9", "127.0.0.1:10"]
    assert both.identity == made(base_url=one).identity, "where it is asked is not what is asked"
    assert both.endpoint.server == made(urls=(two, one)).endpoint.server != made(urls=(one,)).endpoint.server
    assert made(urls=(one,)).endpoint == made(base_url=one).endpoint
    with pytest.raises(UsageError, match="judge.urls holds a user, password, query or key"):
        made(urls=(one, "http://127.0.0.1:9/sk-abcdefghijklmnopqrstuvwxyz012345"))
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        check_model("tiny", JudgeSettings(urls=(one, "https://example.org/v1")))


def test_a_key_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for settings in (JudgeSettings(), JudgeSettings(base_url="https://example.org/v1")):
        with pytest.raises(UsageError, match="keys are read from the environment only, e.g. OPENAI_API_KEY") as caught:
            make_judge("openai:x", settings)
        assert "\n" not in str(caught.value)


def test_a_provider_whose_package_is_missing() -> None:
    with pytest.raises(UsageError, match="pip install langchain-mistralai"):
        make_judge("mistralai:x")


@pytest.mark.parametrize(
    ("url", "why"),
    [("127.0.0.1:8000", "is no URL"), ("ftp://h/v1", "is no URL"), ("http://", "is no URL"), ("http://[", "is no URL"),
     ("http://me:secret@h/v1", "would be recorded"), ("https://h/v1?key=secret", "would be recorded")],
)  # fmt: skip
def test_a_base_url_that_cannot_be(url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        make_judge("x", JudgeSettings(base_url=url))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["http://me:secret@h/v1", "https://h/v1?key=secret", f"http://h/sk-proj-{'secret1' * 6}"]
)
def test_a_secret_in_one_of_several_addresses_is_named_before_anything_is_loaded(secret: str) -> None:
    with pytest.raises(UsageError, match="^judge.urls holds a user, password, query or key") as caught:
        check_model("x", JudgeSettings(urls=("http://127.0.0.1:9/v1", secret)))
    assert "secret" not in str(caught.value)


def test_where_a_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert (endpoint("openai:x", "").host, endpoint("openai:x", "").local) == ("api.openai.com", False)
    assert (endpoint("x", "http://10.0.0.1:8000/v1").host, endpoint("x", "http://10.0.0.1:8000/v1").local) == (
        "10.0.0.1:8000",
        False,
    )
    assert endpoint("ollama:x", "").local and "anthropic" in endpoint("anthropic:x", "").host
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1")
    monkeypatch.setenv("OLLAMA_HOST", "192.168.1.9:11434")
    assert endpoint("openai:x", "").host == "proxy.example"
    assert (endpoint("ollama:x", "").host, endpoint("ollama:x", "").local) == ("192.168.1.9:11434", False)


@pytest.mark.parametrize(
    ("url", "local"),
    [("http://localhost:1/v1", True), ("http://127.8.9.1/v1", True), ("http://[::1]:80/v1", True), ("http://0.0.0.0/v1",
    False),
     ("http://localhost.example.org/v1", False), ("http://127.0.0.1.example.org", False), ("", False)],
)  # fmt: skip
def test_loopback(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_langchain_is_imported_only_for_language_models() -> None:
    code = "import sys, judges, rlaif.judging.stage\n"
    code += "judges.make_judge('reference'); sys.exit(any('langchain' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_with_commas_are_a_jury() -> None:
    judge = make_judge("reference, tiny", LOCAL)
    assert isinstance(judge, Jury)
    assert [m.identity.model for m in judge.members] == ["reference", "openai:tiny"]
    for name in ("reference,", ",reference", "reference,,tiny"):
        with pytest.raises(UsageError, match="on both sides of each comma"):
            make_judge(name, LOCAL)
    with pytest.raises(UsageError, match="twice"):
        make_judge("reference,reference")


def test_a_local_judge_needs_a_folder() -> None:
    with pytest.raises(UsageError, match="name the folder of a model"):
        make_judge("local:")


@pytest.mark.parametrize("name", ["gpt-4o", "opnai:gpt-4o", "openai:", "local:", "a,", ",", "reference,gpt-4o"])
def test_a_bad_name_is_found_without_loading_anything(name: str) -> None:
    with pytest.raises(UsageError) as made:
        make_judge(name)
    with pytest.raises(UsageError) as checked:
        check_model(name)
    assert str(made.value) == str(checked.value)


def test_what_is_missing_is_named_before_anything_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "langchain_anthropic" else name)
    for name, part in (
        (f"local:{tmp_path / 'none'}", "no folder"),
        (f"local:{tmp_path}", "has no config.json"),
        ("openai:gpt-4o-mini", "no key"),
        ("anthropic:claude", "needs the package langchain-anthropic"),
    ):
        with pytest.raises(UsageError, match=part):
            check_model(name)


@pytest.mark.parametrize("name", ["reference", "support", "reference,support", "local:embedded", "local:owner/name"])
def test_a_good_name_passes(name: str) -> None:
    check_model(name)


def test_a_served_model_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    check_model("tiny", LOCAL)


def test_the_loop_finds_a_bad_judge_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, cli\n"
        f"sys.argv = ['cli.py', 'loop', '--run', {str(tmp_path / 'run')!r}, '--set', 'judge.model=gpt-4o']\n"
        "try: cli.main()\nexcept SystemExit as exit: print(exit.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "2 False\n" and "names no judge" in done.stderr
    assert not (tmp_path / "run").exists()
