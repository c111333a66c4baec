"""Estimates against figures that are known otherwise, and every profile's plan."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.config import Config
from rlaif.config_file import load_config, profile_names
from rlaif.data.tables import is_hub_id
from rlaif.prompts import load_prompt
from rlaif.train.estimate import BITS, Shape, memory, plan, shape, sources, steps_of
from rlaif.types import DataError

RECIPES = [
    "qlora-mistral-7b", "qlora-llama-3.2-1b", "qlora-llama-3.2-3b", "qlora-llama-3.2-1b-symptoms", "llama-3.2-3b-sft",
    "llama-3.2-3b-lora",
    "llama-3.2-3b-qlora", "llama-3.2-3b-galore", "llama-3.2-3b-knowtuning", "lora-qwen2.5-0.5b", "rlaif-qwen2.5-1.5b",
]  # fmt: skip


def test_every_recipe_of_the_table_has_a_profile() -> None:
    assert set(RECIPES) < set(profile_names())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_reproduces_and_agrees_with_itself(name: str) -> None:
    config = load_config(name)
    recipe, train = config.recipe, config.train
    assert recipe.source and recipe.base == config.model.path and recipe.rows and recipe.row_tokens and recipe.metrics
    # [train] is what the loop's SFT does too
    assert (config.sft.learning_rate, config.sft.epochs, config.sft.max_length) == (
        train.learning_rate,
        train.epochs,
        train.max_length,
    )
    assert (config.model.lora_r, config.model.target_modules) == (train.lora_r, train.target_modules)
    assert config.prompts.policy == train.prompt and load_prompt(train.prompt).kind == "policy"
    needs = {"qlora": "nf4", "gptq-lora": "gptq", "lora": "none", "sft": "none", "galore": "none", "knowtuning": "none"}
    assert config.model.quantization == needs[train.method]


def test_the_settings_are_the_published_ones() -> None:
    for name in ("qlora-mistral-7b", "qlora-llama-3.2-1b", "qlora-llama-3.2-3b"):
        t = load_config(name).train
        assert (t.method, t.lora_r, t.lora_alpha, t.lora_dropout, t.target_modules) == (
            "qlora",
            16,
            32,
            0.05,
            ("q_proj", "v_proj"),
        )
        assert (t.max_length, t.batch_size, t.gradient_accumulation, t.learning_rate, t.epochs) == (512, 4, 4, 2e-4, 7)
        assert (t.precision, t.warmup_steps) == ("fp16", 100)
    t = load_config("qlora-llama-3.2-1b-symptoms").train
    assert (t.method, t.target_modules, t.mask_prompt, t.learning_rate, t.epochs, t.precision) == (
        "qlora", ("q_proj", "v_proj"), True, 1e-4, 5, "fp16",
    )  # fmt: skip
    for method in ("sft", "lora", "qlora", "galore", "knowtuning"):
        t = load_config(f"llama-3.2-3b-{method}").train
        assert (t.method, t.max_length, t.batch_size, t.learning_rate) == (method, 256, 4, 2e-5)
    c = load_config("rlaif-qwen2.5-1.5b")
    assert (c.sampling.k, c.sampling.temperature, c.sampling.top_p, c.judge.model) == (
        2,
        0.7,
        0.95,
        "Qwen/Qwen2.5-3B-Instruct",
    )


@pytest.mark.parametrize("name", [n for n in profile_names() if n not in ("embedded", "own")])
def test_a_plan_needs_no_download_and_is_sane(name: str) -> None:
    config = load_config(name)
    made = plan(config)
    assert made.memory and made.parameters and made.trainable and made.rows and made.steps and made.tokens
    assert made.memory.weights < made.memory.total < 80
    assert (
        made.trainable == made.parameters if made.method in ("sft", "galore") else made.trainable < made.parameters / 50
    )
    assert made.tokens <= made.rows * config.train.max_length * config.train.epochs
    assert made.downloads[0][0] == config.model.path and all(
        source in made.downloads[1][0] for source in sources(config)
    )
    assert dict(made.lines())["memory (an estimate)"].startswith("about ")


def test_own_data_is_asked_for_where_a_profile_has_none() -> None:
    with pytest.raises(DataError, match="give your own with --data FILE"):
        plan(load_config("own"))


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("qlora-mistral-7b", 4, 16),
        ("qlora-llama-3.2-1b", 1, 8),
        ("llama-3.2-3b-sft", 50, 80),
        ("llama-3.2-3b-galore", 25, 50),
    ],
)
def test_the_memory_is_of_the_known_size(name: str, least: float, most: float) -> None:
    used = memory(load_config(name))
    assert used and least < used.total < most


def test_a_method_changes_the_memory_in_the_known_order() -> None:
    totals = {m: memory(load_config(f"llama-3.2-3b-{m}")).total for m in ("qlora", "lora", "galore", "sft")}  # type: ignore[union-attr]
    assert totals["qlora"] < totals["lora"] < totals["galore"] < totals["sft"]


@pytest.mark.parametrize("name", RECIPES)
def test_the_shapes_add_up_to_the_parameters(name: str) -> None:
    size = shape(load_config(name))
    assert size
    rest = size.parameters - size.in_layers
    embeddings = size.vocabulary * size.hidden_size
    assert rest == pytest.approx(2 * embeddings if "mistral" in name else embeddings, rel=2e-3)


def test_the_figures_are_those_of_the_papers() -> None:
    assert BITS == {"nf4": 4.5, "gptq": 4.15625}
    # QLoRA's 7 B base in NF4 with float32 scales: 4.5 bits of its 6.98 B layer weights, 16 of the rest
    used = memory(load_config("qlora-mistral-7b"))
    assert used and used.weights == pytest.approx(6.979 * 4.5 / 8 + 0.269 * 2, rel=1e-3)
    assert used.trainable == 32 * 16 * ((4096 + 4096) + (4096 + 1024))
    assert used.activations == pytest.approx(32 * 34 * 4 * 512 * 4096 / 1e9)
    one = memory(load_config("qlora-mistral-7b", ["train.gradient_checkpointing=true"]))
    assert one and one.activations == pytest.approx((2 * 32 + 34) * 4 * 512 * 4096 / 1e9)


@pytest.mark.parametrize(
    ("rows", "batch", "accumulation", "epochs", "steps"),
    [(250, 4, 4, 7, 112), (1, 4, 4, 1, 1), (16, 4, 4, 3, 3), (17, 4, 4, 1, 2), (10, 1, 1, 0.5, 5)],
)
def test_steps(rows: int, batch: int, accumulation: int, epochs: float, steps: int) -> None:
    assert steps_of(rows, batch, accumulation, epochs) == steps


def test_the_steps_are_those_of_the_trainer() -> None:
    # transformers.Trainer.set_initial_training_values: len // accumulation + (len % accumulation > 0)
    for batches in range(1, 30):
        for accumulation in range(1, 9):
            theirs = max(batches // accumulation + int(batches % accumulation > 0), 1)
            assert steps_of(batches, 1, accumulation, 1) == theirs


def local(folder: Path, architecture: dict[str, Any] | None = None) -> Path:
    settings = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    (folder / "config.json").write_text(
        json.dumps(settings | {"vocab_size": 100, "tie_word_embeddings": True} | (architecture or {}))
    )
    return folder


def test_a_local_base_tells_its_own_shape(tmp_path: Path) -> None:
    size = shape(load_config("qlora-llama-3.2-1b", [f"model.path={local(tmp_path)}"]))
    assert size == Shape(2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96) + 100 * 64 + 5 * 64, 2, 64, 96, 32, 100)


def test_the_shape_of_the_base_that_ships_is_known() -> None:
    size = shape(load_config("embedded"))
    assert size and 3e6 < size.parameters < 6e6 and size.vocabulary > 1000
    assert memory(load_config("embedded"))


def test_another_base_from_the_hub_has_no_known_shape() -> None:
    config = load_config("qlora-llama-3.2-1b", ["model.path=someone/else"])
    assert shape(config) is None and memory(config) is None
    assert dict(plan(config).lines())["memory (an estimate)"] == "not known"


def test_a_config_of_another_kind_is_no_error(tmp_path: Path) -> None:
    for text in ("{", "[]", "{}", '{"num_attention_heads": 0, "hidden_size": 1}'):
        (tmp_path / "config.json").write_text(text)
        assert shape(Config(model={"path": str(tmp_path)})) is None  # type: ignore[arg-type]


def test_local_data_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question", "Answer", "qtype"])
        writer.writerows([[f"What are the signs of d{i}?", f"Sign {i} and more.", "symptoms"] for i in range(100)])
    sets = [f"data.sets.0.path={path}", "data.pubmedqa=", f"model.path={local(tmp_path)}"]
    made = plan(load_config("qlora-llama-3.2-1b-symptoms", sets))
    assert made.rows and 78 <= made.rows <= 82 and made.downloads == ()
    assert made.steps == steps_of(made.rows, 4, 4, 5) and made.loads == (str(tmp_path), str(path))
    assert made.tokens and 5 * made.rows * 8 < made.tokens < 5 * made.rows * 20
    assert not any(is_hub_id(source) for source in sources(load_config("qlora-llama-3.2-1b-symptoms", sets)))
