"""Every profile of a published recipe with a small random model of its architecture and local data, everything else as
published.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

import pytest

from command_line import call
from rlaif.config import Config
from rlaif.config_file import load_config, profile_names

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[1]
TABLE = (  # of docs/recipes.md
    "llama-3.2-3b-galore llama-3.2-3b-knowtuning llama-3.2-3b-lora llama-3.2-3b-qlora llama-3.2-3b-sft "
    "lora-qwen2.5-0.5b "
    "qlora-llama-3.2-1b qlora-llama-3.2-1b-symptoms qlora-llama-3.2-3b qlora-mistral-7b rlaif-qwen2.5-1.5b"
).split()
OTHERS = ("real-small", "real-medium", "own")  # of docs/real.md and docs/own.md
SHAPE = dict(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
)
ALPACA = {
    "instruction": "Answer the question.",
    "input": "What helps against ailment {i}?",
    "output": "Rest and water help against ailment {i} in {i} days.",
}
CHOICES = {
    "input": "Q: Which of these helps against ailment {i}? {{'A': 'rest', 'B': 'work'}}",
    "output": "A: rest",
    "instruction": "",
}
USER = {"role": "user", "content": "Which rest helps against ailment {i}?"}
# One row of each format as it is published; {i} makes rows differ.
ROWS: dict[str, dict[str, Any]] = {
    "ultramedical": {
        "id": "TextBookQA,Rest_{i}",
        "type": "TextBookQA",
        "conversations": [
            {"from": "human", "value": "Why does rest help against ailment {i}?"},
            {"from": "gpt", "value": "Rest gives the body time to heal ailment {i}."},
        ],
        "answer": "",
        "score": "8",
    },
    "ultramedical-preference": {
        "prompt_id": "WikiInstruct,{i}",
        "label_type": "easy",
        "prompt": USER["content"],
        "chosen": [USER, {"role": "assistant", "content": "Quiet rest helps against ailment {i} within days."}],
        "rejected": [USER, {"role": "assistant", "content": "None."}],
        "metadata": {"chosen": {"model": "a", "rank": 1, "score": 9.0}, "rejected": {"model": "b", "rank": 4,
        "score": 2.0}},
    },
    "csv": {"Question": "What are the symptoms of ailment {i}?", "Answer": ("Cough, fever "
"and {i} spots are symptoms."), "qtype": "symptoms"},
    "wikidoc": ALPACA, "mediqa": ALPACA, "cord19": ALPACA, "medqa": CHOICES, "mmlu": CHOICES,
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small random models with the embedded base's tokenizer, by architecture; `gptq` is a Qwen2 in int4."""
    with quiet():
        import torch
        from transformers import (
            LlamaConfig,
            LlamaForCausalLM,
            MistralConfig,
            MistralForCausalLM,
            Qwen2Config,
            Qwen2ForCausalLM,
        )  # fmt: skip

        from rlaif.embedded import BASE
        from rlaif.embedded.dataset import texts
        from rlaif.models.base import load_tokenizer
        from rlaif.models.gptq import quantize

        kinds = {
            "mistral": (MistralConfig, MistralForCausalLM),
            "llama": (LlamaConfig, LlamaForCausalLM),
            "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        }
        tokenizer, folders = load_tokenizer(BASE), {}
        for name, (config, kind) in kinds.items():
            torch.manual_seed(0)
            folders[name] = tmp_path_factory.mktemp(name)
            ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
            kind(config(vocab_size=len(tokenizer), **SHAPE, **ids)).save_pretrained(folders[name])
            tokenizer.save_pretrained(folders[name])
        folders["gptq"] = tmp_path_factory.mktemp("gptq") / "base"
        quantize(folders["qwen2"], folders["gptq"], texts())
    return folders


def architecture(config: Config) -> str:
    name = config.recipe.base.lower()
    if "gptq" in name:
        return "gptq"
    return next(kind for kind in ("mistral", "llama", "qwen2") if kind.removesuffix("2") in name)


def filled(value: Any, i: int) -> Any:
    """`value` with {i} filled into all its texts."""
    if isinstance(value, dict):
        return {key: filled(one, i) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, i) for one in value]
    return value.format(i=i) if isinstance(value, str) else value


def local_data(config: Config, folder: Path) -> list[str]:
    """Overrides that give every source of the profile a small local file in its own schema."""
    given = ["data.pubmedqa=embedded"] if config.data.pubmedqa else []
    given += ["data.medquad=embedded"] if config.data.medquad else []
    for number, one in enumerate(config.data.sets):
        rows = [filled(ROWS[one.format], i) for i in range(40)]
        file = folder / f"{number}.{'csv' if one.format == 'csv' else 'jsonl'}"
        if one.format == "csv":
            lines = [",".join(rows[0])] + [",".join(f'"{v}"' for v in row.values()) for row in rows]
        else:
            lines = [json.dumps(row) for row in rows]
        file.write_text("\n".join(lines) + "\n")
        given.append(f"data.sets.{number}.path={file}")
    return given


def test_the_profiles_are_those_of_the_table() -> None:
    assert set(profile_names()) == {"embedded", *OTHERS, *TABLE}


@pytest.mark.parametrize("name", TABLE)
def test_a_recipe_trains_as_published_and_is_compared(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    config = load_config(name)
    if config.train.method == "galore":
        pytest.importorskip("galore_torch")
    small = ["sft_medquad=8", "sft_pubmedqa=8", "gate_medquad=4", "gate_pubmedqa=4"]
    sets = [
        f"model.path={bases[architecture(config)]}",
        "model.threads=1",
        "evaluation.max_new_tokens=8",
        *(f"data.{s}" for s in small),
    ]
    arguments = [word for one in [*sets, *local_data(config, tmp_path)] for word in ("--set", one)]
    code, out, err = call("train", "--profile", name, *arguments, "--run", tmp_path / "run", "--format", "json")
    assert code == 0, err
    result = json.loads(out)
    assert result["steps"] > 0 and {m["metric"] for m in result["metrics"]} >= {"loss", "perplexity"}
    assert all(m["before"] is not None and m["after"] is not None for m in result["metrics"])

    measured = {
        m["benchmark"].removesuffix("_style").partition("_")[0] for m in result["metrics"] if m["metric"] == "loss"
    }
    assert measured
    for benchmark in sorted(measured):
        more = (
            "--benchmark",
            benchmark,
            "--limit",
            4,
            "--run",
            tmp_path / "run",
            "--plots",
            tmp_path / benchmark,
            "--format",
            "json",
        )
        code, out, err = call("compare", "base", result["policy"], *more)
        assert code == 0, err
        compared = json.loads(out)
        assert compared["n"] == 4 and {d["metric"] for d in compared["differences"]} >= {"loss"}
        wanted = {"scores", "training_loss", "learning_curve", *(["confusion"] if benchmark == "pubmedqa" else [])}
        wanted |= {"error_lengths"} if any(p["errors"]["n"] for p in compared["policies"]) else set()
        assert {file.stem for file in (tmp_path / benchmark).iterdir()} == wanted


@pytest.mark.parametrize("name", ["embedded", *OTHERS, *TABLE])
def test_a_dry_run_imports_no_torch_and_makes_no_run(name: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    rows = [
        f"What helps against ailment {i}?,Remedy {i} with herb {7 * i} helps it within {i} days." for i in range(80)
    ]
    mine.write_text("question,answer\n" + "\n".join(rows) + "\n", "utf-8")
    words = ["cli.py", "train", "--profile", name, "--dry-run", "--run", str(tmp_path / "run"), "--format", "json"]
    words += ["--data", str(mine)] if name == "own" else []  # it has none of its own
    code = (
        "import sys, cli\n"
        f"sys.argv = {words}\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    assert planned["steps"] > 0 and planned["tokens"] > 0 and planned["memory"]["weights"] > 0
    assert bool(planned["downloads"]) == (name not in ("embedded", "own"))
    assert not (tmp_path / "run").exists()
