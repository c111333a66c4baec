"""A policy on the hub: a server on loopback stands in for it, the hub's own client talks to it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fake_hub import Hub, served
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.share import hub as on_hub
from rlaif.share.hub import push_policy
from rlaif.types import RlaifError, UsageError

QUIET = Screen(Console(file=io.StringIO()))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with served() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield found


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Exports are three small files; the list says what was asked for."""
    asked: list[str] = []

    def export(run: Run, name: str, kind: str, out: Path, *_: object) -> None:
        asked.append(kind)
        (out / "deep").mkdir(parents=True)
        (out / "README.md").write_text("---\nlicense: other\n---\n# A policy\n\n## Evidence\n")
        (out / "adapter_model.safetensors").write_bytes(b"weights")
        (out / "deep" / "file.json").write_text("{}")

    monkeypatch.setattr(on_hub, "export", export)
    return asked


def push(run: Run, repo: str = "me/policy", public: bool = False) -> str:
    return push_policy(run, "base", "adapter", "float32", QUIET, None, repo, public)[0]


def test_a_policy_goes_to_a_private_model_with_its_card(paired_run: Run, hub: Hub, written: list[str]) -> None:
    policy = paired_run.policy("base")["policy_id"]
    assert push(paired_run) == f"policy {policy} to the private model me/policy on the hub"
    assert push(paired_run) == f"policy {policy} to the private model me/policy on the hub", "again into the same"
    (repo,) = hub.repos.values()
    assert repo["private"] and repo["message"] == f"Policy {policy}, adapter"
    assert set(repo["files"]) == {"README.md", "adapter_model.safetensors", "deep/file.json"}
    assert b"## Evidence" in repo["files"]["README.md"] and hub.tokens == {"Bearer hf_secret"}


def test_public_is_said_and_never_slips_in(paired_run: Run, hub: Hub, written: list[str]) -> None:
    hub.repos["me/seen"] = {"private": False, "files": {}, "message": ""}
    with pytest.raises(UsageError, match="me/seen: it is there, for all to see; say --public"):
        push(paired_run, "me/seen")
    assert written == [] and hub.repos["me/seen"]["files"] == {}, "nothing was made, nothing was uploaded"
    assert "to the public model me/seen" in push(paired_run, "me/seen", public=True)
    assert "to the public model me/new" in push(paired_run, "me/new", public=True)
    assert hub.repos["me/new"]["private"] is False


def test_a_hub_that_is_not_there_is_one_line_without_the_token(
    paired_run: Run, hub: Hub, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RlaifError, match=r"me/policy: the hub did not take the model .*export with --out") as error:
        push(paired_run)
    assert "hf_secret" not in str(error.value) and "\n" not in str(error.value)


def test_a_name_and_a_token_are_needed(paired_run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for repo in ("policy", "/policy", "a/b/c"):
        with pytest.raises(UsageError, match="owner/name"):
            push(paired_run, repo)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UsageError, match="HF_TOKEN"):
        push(paired_run)
