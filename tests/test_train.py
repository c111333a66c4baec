"""The command `train`: what the run holds afterwards, resuming, several processes, and how the loop goes on from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import call
from rlaif.checkpoints import under_way
from rlaif.config_file import load_config
from rlaif.prompts import load_prompt
from rlaif.run import open_run
from rlaif.screen import Screen
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.usefixtures("torch_threads")]

HERE = Path(__file__).parent
TINY = HERE / "tiny.toml"
# Eight items of each benchmark, and float32: bfloat16 rounds off more than two processes differ from one.
SETTINGS = (
    "data.sft_medquad=24 data.sft_pubmedqa=24 data.gate_medquad=8 data.gate_pubmedqa=8"
    " train.precision=fp32 evaluation.max_new_tokens=8 model.threads=1"
).split()
SETS = [word for setting in SETTINGS for word in ("--set", setting)]
TIMES = {
    "runs": ["created_at"],
    "stages": ["started_at", "finished_at", "seconds", "model_seconds", "peak_memory_mb"],
    "policies": ["created_at"],
}


def train(folder: Path, *more: object) -> tuple[dict[str, Any], str]:
    code, out, err = call("train", "--profile", TINY, *SETS, "--run", folder, "--format", "json", *more)
    assert code == 0, err
    return json.loads(out), err


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    store = Store.open(folder)
    names = (
        "runs",
        "stages",
        "policies",
        "policy_items",
        "questions",
        "prompts",
        "eval_items",
        "train_log",
        "rounds",
        "decisions",
    )
    return {n: store.query("SELECT * EXCLUDE "
f"({', '.join(TIMES[n])}) FROM {n} ORDER BY ALL" if n in TIMES else f"FROM {n} ORDER BY ALL")
            for n in names}  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(HERE.parent)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, torch_threads: None) -> tuple[Path, dict[str, Any], str]:
    """A finished run of the profile's own method, gptq-lora; what it printed as JSON and on stderr. Tests that change
    it take a copy.
    """
    folder = tmp_path_factory.mktemp("train") / "run"
    return folder, *train(folder)


@pytest.fixture(scope="module")
def float_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded base with its 4-bit layers written out as float32."""
    from rlaif.models.base import load_base

    folder = tmp_path_factory.mktemp("float") / "base"
    base = load_base(load_config("embedded").model)
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder


def test_the_run_holds_what_was_done(trained: tuple[Path, dict[str, Any], str]) -> None:
    folder, result, err = trained
    found = rows(folder)
    policy = result["policy"]
    base = next(p["policy_id"] for p in found["policies"] if p["kind"] == "base")
    stages = {(s["round"], s["stage"]) for s in found["stages"]}
    each = {f"{what}:{p}" for p in (base, policy) for what in ("evaluate:medquad", "evaluate:pubmedqa", "loss")}
    assert stages == {(0, name) for name in ("prepare", "sft", *each)}
    assert all(s["status"] == "done" for s in found["stages"])
    row = next(p for p in found["policies"] if p["policy_id"] == policy)
    recipe = json.loads(row["recipe"])
    assert (row["kind"], row["parent_id"], row["round"]) == ("sft", base, 0)
    assert (recipe["method"], recipe["whole"], recipe["base_quantization"]) == ("gptq-lora", False, "gptq")
    assert recipe["computed_in"] == "float32" and recipe["batch_size"] == 8
    assert (folder / row["path"] / "adapter_model.safetensors").is_file() and str(folder / row["path"]) == result[
        "path"
    ]
    assert {i["role"] for i in found["policy_items"]} == {"sft"} and len(found["policy_items"]) == 48
    assert len([r for r in found["train_log"] if r["name"] == "loss"]) == 6 == result["steps"]
    assert found["rounds"] == [] == found["decisions"], "training promotes nothing"
    assert "Traceback" not in err


def test_it_prints_before_and_after(trained: tuple[Path, dict[str, Any], str]) -> None:
    folder, result, _ = trained
    metrics = {(m["benchmark"], m["metric"]): m for m in result["metrics"]}
    style = {("medquad_style", metric) for metric in ("token_f1", "rouge_l", "consistency")}
    style |= {("pubmedqa_style", "accuracy")}
    lost = {(b, m) for b in ("medquad_style", "pubmedqa_style") for m in ("loss", "perplexity")}
    assert set(metrics) == style | lost
    assert all(m["change_low"] <= m["change"] <= m["change_high"] for m in metrics.values())
    means = {
        (r["policy_id"], r["metric"]): r["value"]
        for r in Store.open(folder).query("SELECT policy_id, metric, avg(value) AS value FROM eval_items GROUP BY ALL")
    }
    one = metrics["medquad_style", "token_f1"]
    assert one["n"] == 8 and one["after"] == pytest.approx(means[result["policy"], "token_f1"])
    assert metrics["pubmedqa_style", "loss"]["after"] < metrics["pubmedqa_style", "loss"]["before"]
    assert metrics["pubmedqa_style", "perplexity"]["after"] == pytest.approx(
        2.718281828 ** metrics["pubmedqa_style", "loss"]["after"]
    )
    assert result["seconds"] > 0 and result["peak_memory_mb"] > 0 and result["tokens"] > 0


def test_the_same_command_again_changes_nothing(trained: tuple[Path, dict[str, Any], str]) -> None:
    folder, result, _ = trained
    before = rows(folder)
    again, _ = train(folder)
    assert again == result and rows(folder) == before


def test_the_loop_goes_on_with_the_policy(trained: tuple[Path, dict[str, Any], str]) -> None:
    from rlaif.models.base import load_base
    from rlaif.train.stages import sft

    folder, result, _ = trained
    run = open_run(folder)
    assert sft(run, load_base(run.config.model), load_prompt(run.config.prompts.policy), Screen()) == result["policy"]
    code, out, _ = call("status", "--run", folder)
    assert code == 0


def test_another_method_needs_another_run(trained: tuple[Path, dict[str, Any], str]) -> None:
    code, _, err = call("train", "--profile", TINY, *SETS, "--run", trained[0], "--method", "knowtuning")
    assert code == 2 and "train.method: 'gptq-lora' there, 'knowtuning' now" in err


def test_a_base_that_the_method_cannot_train_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    code, _, err = call("train", "--profile", TINY, *SETS, "--run", tmp_path / "run", "--method", "galore")
    assert code == 2 and "method galore needs a 16- or 32-bit base" in err
    assert not (tmp_path / "run").exists()


def test_killed_in_training_it_ends_with_the_same_rows(
    trained: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killer = [
        sys.executable,
        str(HERE / "killer.py"),
        "0/sft:step3",
        "train",
        "--profile",
        str(TINY),
        *SETS,
        "--run",
        str(folder),
    ]
    killed = subprocess.run(killer, env=environment(), capture_output=True, text=True, timeout=600)
    assert killed.returncode == -9, killed.stderr
    assert Store.open(folder).query("SELECT count(*) AS n FROM train_log")[0]["n"] > 0
    result, _ = train(folder)
    assert rows(folder) == rows(trained[0])
    assert result["policy"] == trained[1]["policy"]


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--")
# --multi_gpu is what makes accelerate start processes, on CPU too; its default port may be taken.
ACCELERATE = tuple(
    "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0 "
    "--mixed_precision no "
    "--dynamo_backend no".split()
)


def by_two(
    launcher: tuple[str, ...], folder: Path, *more: str, program: tuple[str, ...] = (str(HERE.parent / "cli.py"),)
) -> subprocess.CompletedProcess[str]:
    command = [*program, "train", "--profile", str(TINY), *SETS, "--run", str(folder), "--format", "json", *more]
    start = [sys.executable, "-m", *launcher]
    return subprocess.run([*start, *command], env=environment(), capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("torchrun") / "run"
    return folder, by_two(TORCHRUN, folder)


def test_two_processes_that_were_killed_go_on_from_their_checkpoint(
    by_torchrun: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, often = tmp_path / "run", ("--set", "train.checkpoint_minutes=1e-9")
    killed = by_two(TORCHRUN, folder, *often, program=(str(HERE / "killer.py"), "0/sft:step4"))
    assert killed.returncode != 0 and under_way(folder) == 3, killed.stderr
    done = by_two(TORCHRUN, folder, *often)
    assert done.returncode == 0 and done.stderr.count("goes on from step 3\n") == 1, done.stderr
    mine, theirs = rows(folder), rows(by_torchrun[0])
    assert mine["train_log"] == theirs["train_log"] and mine["policies"] == theirs["policies"]


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_train_what_one_does(
    trained: tuple[Path, dict[str, Any], str],
    by_torchrun: tuple[Path, subprocess.CompletedProcess[str]],
    launcher: tuple[str, ...],
    tmp_path: Path,
) -> None:
    folder, done = by_torchrun
    if launcher == ACCELERATE:
        folder = tmp_path / "run"
        done = by_two(ACCELERATE, folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # one process prints
    assert done.stderr.count("rlaif train:") == 1
    # Both processes compare their adapters after training and stop when they differ (test_processes.py).
    detail = json.loads(Store.open(folder).query("SELECT detail FROM stages WHERE stage = 'sft'")[0]["detail"])
    assert detail["processes"] == 2 and detail["steps"] == 6
    losses = [
        [r["value"] for r in Store.open(run).query("SELECT value FROM train_log WHERE name = 'loss' ORDER BY step")]
        for run in (trained[0], folder)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert len(Store.open(folder).query("FROM sessions")) == 1
    assert result["tokens"] == trained[1]["tokens"]


def test_accelerate_that_starts_one_process_is_told_of_and_trains_the_same(
    trained: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    start = [sys.executable, "-m", *"accelerate.commands.launch --cpu --num_processes 2 --mixed_precision no".split()]
    command = [
        *start,
        str(HERE.parent / "cli.py"),
        "train",
        "--profile",
        str(TINY),
        *SETS,
        "--run",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "one: accelerate launch started no others" in done.stderr
    assert rows(tmp_path / "run")["train_log"] == rows(trained[0])["train_log"]


def test_all_weights_are_trained_saved_loaded_and_built_upon(float_base: Path, tmp_path: Path) -> None:
    import torch

    from rlaif.models.adapter import attach_adapter, save_adapter
    from rlaif.models.base import load_base
    from rlaif.policies import load_policy

    folder = tmp_path / "run"
    result, _ = train(
        folder, "--method", "sft", "--set", f"model.path={float_base}", "--set", "train.learning_rate=3e-4"
    )
    whole = folder / "policies" / result["policy"]
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {p.name for p in whole.iterdir()}
    assert str(tmp_path.parent) not in "".join(p.read_text("utf-8") for p in whole.glob("*.json"))
    run = open_run(folder)
    base = load_base(run.config.model)
    ids = torch.tensor([[5, 6, 7, 8]])
    before, after = (load_policy(run, base, p)(ids).logits for p in (run.policy("base")["policy_id"], result["policy"]))
    assert not torch.allclose(before, after, atol=1e-3)

    adapter = attach_adapter(base, run.config.model, 0)  # what a DPO round on top of it would save
    for name, parameter in adapter.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(0))
    row = {
        "policy_id": "d" * 16,
        "parent_id": result["policy"],
        "kind": "dpo",
        "round": 1,
        "path": f"policies/{'d' * 16}",
        "base_sha256": base.sha256,
    }
    run.store.write({"policies": [row | {"sha256": save_adapter(adapter, run.policies / ("d" * 16))}]})
    on_top = load_policy(run, base, "d" * 16)(ids).logits
    on_base = adapter.eval()(ids).logits
    assert not torch.allclose(on_top, after, atol=1e-3) and not torch.allclose(on_top, on_base, atol=1e-3)
    shutil.rmtree(whole)
    code, _, err = call(
        "evaluate", "--run", folder, "--policy", result["policy"], "--benchmark", "medquad", "--limit", "2"
    )
    assert code == 1 and "no weights" in err


def test_knowtuning_without_a_language_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result, err = train(folder, "--method", "knowtuning", "--set", "dpo.batch_size=16", "--set", "model.lora_r=4")
    assert "no language model is configured" in err
    store = Store.open(folder)
    policies = {p["policy_id"]: p for p in store.query("FROM policies")}
    last = policies[result["policy"]]
    first = policies[last["parent_id"]]
    assert (last["kind"], last["reference_id"], first["kind"]) == ("dpo", first["policy_id"], "sft")
    assert json.loads(last["recipe"])["facts_by"] == json.loads(first["recipe"])["facts_by"] == "sentences"
    detail = json.loads(store.query("SELECT detail FROM stages WHERE stage = 'knowledge'")[0]["detail"])
    assert len(detail["augmented"]) == 12, "half of the 24 free-text questions"
    roles = {r["role"]: r["n"] for r in store.query("SELECT role, count(*) AS n FROM policy_items GROUP BY role")}
    assert roles["sft"] == 48 and roles["sft:knowledge"] == 12
    kinds = {f"dpo:{p['kind']}" for p in detail["pairs"]}
    assert {role for role in roles if role.startswith("dpo:")} == kinds and len(kinds) == 3
    assert store.query("SELECT count(*) AS n FROM train_log WHERE name = 'rewards/margins'")[0]["n"] > 0
