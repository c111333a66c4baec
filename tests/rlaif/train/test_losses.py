"""DPO beyond the sigmoid loss, through TRL: what each setting changes, and training that stops on held-out pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file

from rlaif.config import DpoConfig, Loss, ModelConfig
from rlaif.models.adapter import attach_adapter, save_adapter
from rlaif.models.base import Base, load_base
from rlaif.train.dpo import PairExample, losses, train_dpo
from rlaif.train.heldout import Best
from rlaif.types import RlaifError

pytestmark = pytest.mark.slow  # trains

QUESTIONS = [f"what helps against {what} ?" for what in ("fever", "cough", "asthma", "the cough of a doctor")]
PAIRS = [PairExample(q, " rest and water .", " the of the of the of the .") for q in QUESTIONS * 2]
TURNED = [PairExample(p.prompt, p.rejected, p.chosen) for p in PAIRS[:2]]
DPO = {"learning_rate": 1e-2, "batch_size": 4, "warmup_steps": 0, "max_length": 64}


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


def trained(base: Base, out: Path, **settings: Any) -> tuple[Any, list[dict[str, float]]]:
    logs: list[dict[str, float]] = []
    more = {k: settings.pop(k) for k in ("heldout", "label_smoothing") if k in settings}
    config = DpoConfig.model_construct(**(DpoConfig(**DPO).model_dump() | settings))
    model = attach_adapter(base, ModelConfig(lora_r=4), 0)
    log = train_dpo(base, model, PAIRS, config, out, 0, lambda step, values: logs.append({"at": step} | values), **more)
    return log, logs


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_trains_and_prefers_the_chosen_answers(base: Base, tmp_path: Path, loss: str) -> None:
    smoothing = 0.01 if loss == "exo_pair" else 0.0
    _, logs = trained(base, tmp_path / "p", loss=loss, sft_weight=0.0, epochs=4, label_smoothing=smoothing)
    assert logs[-1]["rewards/margins"] > logs[0]["rewards/margins"]
    assert logs[-1]["rewards/accuracies"] == 1.0


def test_the_losses_differ(base: Base, tmp_path: Path) -> None:
    found = {
        loss: trained(base, tmp_path / loss, loss=loss, epochs=1)[0].sha256 for loss in ("sigmoid", "ipo", "hinge")
    }
    found["robust"] = trained(base, tmp_path / "r", loss="robust", label_smoothing=0.2)[0].sha256
    found["ld_alpha"] = trained(base, tmp_path / "l", ld_alpha=0.0)[0].sha256
    assert len(set(found.values())) == 5


def test_without_smoothing_robust_is_the_sigmoid_loss(base: Base, tmp_path: Path) -> None:
    robust = trained(base, tmp_path / "r", loss="robust")[0]
    assert robust.sha256 == trained(base, tmp_path / "s")[0].sha256


def test_the_default_says_to_trl_what_it_said_before() -> None:
    assert losses(DpoConfig()) == {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}
    assert losses(DpoConfig(sft_weight=0)) == {"loss_type": ["sigmoid"], "loss_weights": [1.0]}


def test_what_is_saved_lies_between_the_reference_and_the_trained_weights(base: Base, tmp_path: Path) -> None:
    """The training itself is the same; with held-out pairs the way leads to the best weights, not to the last ones."""
    start = tmp_path / "start"
    save_adapter(attach_adapter(base, ModelConfig(lora_r=4), 0), start)
    for more in ({}, {"epochs": 5, "heldout": TURNED, "sft_weight": 0.0}):
        name = "heldout" if more else "plain"
        (whole, logs), (half, same) = (
            trained(base, tmp_path / f"{name}{share}", interpolation=share, **more) for share in (1.0, 0.25)
        )
        assert same == logs and (half.steps, half.kept_step) == (whole.steps, whole.kept_step)
        weights = [load_file(f / "adapter_model.safetensors") for f in (start, tmp_path / f"{name}1.0")]
        found = load_file(tmp_path / f"{name}0.25" / "adapter_model.safetensors")
        assert found.keys() == weights[0].keys()
        moved = 0.0
        for key, value in found.items():
            torch.testing.assert_close(value, weights[0][key] + 0.25 * (weights[1][key] - weights[0][key]))
            moved = max(moved, float((weights[1][key] - weights[0][key]).abs().max()))
        assert moved > 1e-3


def test_training_stops_when_held_out_pairs_get_worse_and_keeps_the_best(base: Base, tmp_path: Path) -> None:
    """The held-out pairs want the opposite, so that the first epoch is the best and the second the last."""
    result, logs = trained(base, tmp_path / "p", epochs=5, heldout=TURNED, sft_weight=0.0)
    measured = {row["at"]: row["heldout/loss"] for row in logs if "heldout/loss" in row}
    assert list(measured) == [2, 4] and measured[4] > measured[2]
    assert (result.steps, result.kept_step) == (4, 2)
    assert [row["at"] for row in logs if "loss" in row] == [1, 2, 3, 4]
    assert result.examples == len(PAIRS), "held-out pairs are not trained on"


def test_training_goes_on_while_held_out_pairs_get_better(base: Base, tmp_path: Path) -> None:
    result, logs = trained(base, tmp_path / "p", epochs=3, heldout=PAIRS[:2], sft_weight=0.0)
    measured = [row["heldout/loss"] for row in logs if "heldout/loss" in row]
    assert len(measured) == 3 and measured == sorted(measured, reverse=True)
    assert (result.steps, result.kept_step) == (6, 6)
    unwatched, same = trained(base, tmp_path / "q", epochs=3, sft_weight=0.0)
    assert unwatched.kept_step is None
    first = [[row["loss"] for row in some if "loss" in row][:2] for some in (logs, same)]
    assert first[0] == first[1], "what is held out is no part of what is trained on"


def test_held_out_pairs_without_room_are_named(base: Base, tmp_path: Path) -> None:
    long = [PairExample("fever " * 70, " no", " yes")]
    with pytest.raises(RlaifError, match="held-out pair; raise dpo.max_length"):
        trained(base, tmp_path / "p", heldout=long)
    assert not (tmp_path / "p").exists()


def test_the_kept_weights_are_put_back() -> None:
    class Control:
        should_training_stop = False

    class State:
        global_step = 0

    model, best, control, state = torch.nn.Linear(2, 2), Best(), Control(), State()
    wanted = {}
    for step, loss in enumerate([0.7, 0.5, 0.6], 1):
        with torch.no_grad():
            model.weight.fill_(step)
        state.global_step = step
        best.on_evaluate(None, state, control, model=model, metrics={"eval_loss": loss})
        if step == 2:
            wanted = {n: p.clone() for n, p in model.named_parameters()}
            assert not control.should_training_stop
    assert control.should_training_stop and best.step == 2
    best.restore(model)
    assert all(torch.equal(p, wanted[n]) for n, p in model.named_parameters())
