"""Policies whose weights were all trained, and adapters on top of them, wherever a policy is used: export, serve,
chat.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from rlaif.chat.answerer import find_policy, model_of, open_answerer
from rlaif.config import ModelConfig
from rlaif.models.base import load_base
from rlaif.policies import load_policy
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.share.export_model import export
from rlaif.share.serve import merged_folder
from rlaif.types import UsageError

QUIET = Screen(Console(file=io.StringIO()))
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])

pytestmark = pytest.mark.slow


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


@pytest.fixture(scope="module")
def trained(whole_run: Run) -> dict[str, torch.Tensor]:
    """What each policy says as the loop loads it."""
    base = load_base(whole_run.config.model)
    found = {
        name: logits(load_policy(whole_run, base, name)) for name in ("base0", "5f70000000000000", "d901000000000000")
    }
    assert not torch.allclose(found["base0"], found["5f70000000000000"], atol=0.1) and not torch.allclose(
        found["5f70000000000000"], found["d901000000000000"], atol=0.1
    )
    return found


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("5f70000000000000", "5f70000000000000 was trained in all its weights and has no adapter"),
        ("d901000000000000", "d901000000000000 was trained in all its weights by way of 5f70000000000000"),
    ],
)
def test_as_an_adapter_they_are_refused(whole_run: Run, tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^policy {why}.*; use --format merged$"):
        export(whole_run, name, "adapter", tmp_path / "out", "float32", QUIET)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("5f70000000000000", "with all its weights trained,"),
        ("d901000000000000", "with all its weights trained and with the adapter added in,"),
    ],
)
def test_exported_they_are_the_model_that_was_trained(
    whole_run: Run, trained: dict[str, torch.Tensor], tmp_path: Path, name: str, words: str
) -> None:
    out = tmp_path / "merged"
    difference = export(whole_run, name, "merged", out, "float32", QUIET)
    assert difference is not None and difference.equal == difference.n == 50
    assert difference.loss_after == pytest.approx(difference.loss_before, abs=1e-4)
    exported = load_base(ModelConfig(path=str(out), threads=1))
    assert torch.allclose(logits(exported.model), trained[name], atol=1e-3)
    assert words in (out / "README.md").read_text("utf-8")


def test_as_gptq_it_is_near_the_model_that_was_trained(
    whole_run: Run, trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    out = tmp_path / "gptq"
    difference = export(whole_run, "5f70000000000000", "gptq", out, "float32", QUIET)
    assert difference is not None and difference.loss_after == pytest.approx(difference.loss_before, rel=0.2)
    assert json.loads((out / "config.json").read_text("utf-8"))["quantization_config"]["bits"] == 4
    found = logits(load_base(ModelConfig(path=str(out), threads=1)).model)
    assert (found - trained["5f70000000000000"]).norm() < (found - trained["base0"]).norm()


@pytest.mark.parametrize("name", ["5f70000000000000", "d901000000000000"])
def test_served_and_in_a_chat_they_are_the_model_that_was_trained(
    whole_run: Run, trained: dict[str, torch.Tensor], name: str
) -> None:
    served = load_base(ModelConfig(path=str(merged_folder(whole_run, name)), threads=1))
    assert torch.allclose(logits(served.model), trained[name], atol=1e-3)
    answerer = open_answerer(whole_run.folder, Path("nowhere"))
    assert torch.allclose(logits(model_of(answerer, find_policy(answerer, name))), trained[name], atol=1e-3)
    assert torch.allclose(logits(model_of(answerer, find_policy(answerer, "base0"))), trained["base0"], atol=1e-3), (
        "the base stays"
    )
