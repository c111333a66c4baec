"""What init makes of data, model and machine: settings, estimates, warnings, and a profile that can be read."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlaif.config_file import load_config
from rlaif.init.choose import Setting, settings, time_and_memory, warnings
from rlaif.init.look import Data, Machine, Model, look_at_model
from rlaif.init.page import facts, toml
from rlaif.train.estimate import Shape
from rlaif.types import UsageError

DATA = Data(
    entries=({"format": "csv", "path": 'a "b".csv', "name": "own", "question": "frage", "answer": "antwort",
              "focus": "", "fractions": [0.55, 0.3, 0.15]},),
    told=("a.csv: question = frage, answer = antwort",),
    text={"train": 165, "gate": 90, "sealed": 45},
    labels={"train": 0, "gate": 0, "sealed": 0},
    gate_groups=60,
    answer_words=40,
    median_words=20,
    answer_tokens=80,
    prompt_tokens=30,
    latin=0.99,
    counted=True,
)  # fmt: skip
SMALL = Model("models/tiny", "qwen2", "gptq", Shape(6_000_000, 6, 256, 768, 128, 6144), 1024)
LARGE = Model("models/1b", "llama", "none", Shape(1_200_000_000, 16, 2048, 8192, 512, 128_256), 4096)
CPU = Machine(2, "8.0 GiB free of 16.0", "", 0, 80.0)
GPU = replace(CPU, gpu="Fast 80", gpu_bytes=80 * 2**30, gflops=20_000.0)


def value(made: list[Setting], key: str) -> Any:
    (found,) = [s.value for s in made if f"{s.section}.{s.key}" == key]
    return found


@pytest.mark.parametrize("data, model, machine", [
    (DATA, SMALL, CPU), (DATA, LARGE, GPU), (DATA, Model("owner/name", "owner/name", "", None, None), CPU),
    (replace(DATA, text=dict.fromkeys(DATA.text, 0), labels=DATA.text, answer_words=1, answer_tokens=3), SMALL, CPU),
])  # fmt: skip
def test_the_profile_is_one_that_loop_reads(tmp_path: Path, data: Data, model: Model, machine: Machine) -> None:
    made = settings(data, model, machine)
    estimate = time_and_memory(made, data, model, machine)
    out = tmp_path / "mine.toml"
    out.write_text(toml(made, data, model, machine, estimate, warnings(data, model, machine, estimate), "RUN"), "utf-8")
    config = load_config(str(out))
    assert config.model.path == model.path and (config.data.pubmedqa, config.data.medquad) == ("", "")
    (spec,) = config.data.sets
    assert (spec.path, spec.question, spec.answer, spec.fractions) == (
        'a "b".csv',
        "frage",
        "antwort",
        (0.55, 0.3, 0.15),
    )
    tree = tomllib.loads(out.read_text("utf-8"))
    assert {f"{s.section}.{s.key}" for s in made} < {
        f"{k}.{n}" for k, v in tree.items() if isinstance(v, dict) for n in v
    }
    assert "`--rounds 1`" in out.read_text("utf-8")
    assert "# Run it:  RUN" in out.read_text("utf-8") and max(map(len, out.read_text("utf-8").splitlines())) < 160


def test_settings_follow_the_sizes_of_data_and_model() -> None:
    small, large = settings(DATA, SMALL, CPU), settings(DATA, LARGE, GPU)
    assert value(small, "sft.learning_rate") > value(large, "sft.learning_rate")
    assert (value(small, "train.method"), value(large, "train.method")) == ("gptq-lora", "lora")
    assert value(small, "sampling.questions") == 165, "all of them where there are few"
    many = replace(DATA, text={"train": 16_000, "gate": 2000, "sealed": 2000})
    assert value(settings(many, SMALL, CPU), "sampling.questions") == 256
    assert value(small, "sft.epochs") == 3 and value(settings(many, SMALL, CPU), "sft.epochs") == 1
    assert value(small, "data.max_reference_words") == 40 and 80 <= value(small, "sampling.max_new_tokens") <= 96
    wordy = replace(DATA, answer_words=900, answer_tokens=1800)
    assert value(settings(wordy, SMALL, CPU), "data.max_reference_words") == 120
    narrow = replace(SMALL, context=128)
    assert value(settings(wordy, narrow, CPU), "sft.max_length") <= 128
    assert value(settings(wordy, narrow, CPU), "data.max_reference_words") < 40


def test_estimates_grow_with_what_is_asked_and_shrink_with_speed() -> None:
    def low(data: Data, model: Model, machine: Machine) -> float:
        return time_and_memory(settings(data, model, machine), data, model, machine).low

    usual = low(DATA, SMALL, CPU)
    assert low(DATA, LARGE, CPU) > usual and low(DATA, SMALL, replace(CPU, gflops=1.0)) > usual
    assert low(replace(DATA, text={"train": 600, "gate": 300, "sealed": 100}), SMALL, CPU) > usual
    memory = time_and_memory(settings(DATA, LARGE, CPU), DATA, LARGE, CPU).memory_gb
    assert memory and memory > 4.8, "four bytes for each weight on a CPU"
    hub = Model("owner/name", "owner/name", "", None, None)
    assert time_and_memory(settings(DATA, hub, CPU), DATA, hub, CPU).memory_gb is None
    shown = "\n".join(facts(DATA, hub, CPU, time_and_memory(settings(DATA, hub, CPU), DATA, hub, CPU)))
    assert "memory not known" in shown and "no GPU" in shown and "left out" not in shown
    fewer = replace(DATA, left_out={"repeat another row": 1200, "are filtered or empty": 2})
    shown = "\n".join(facts(fewer, SMALL, CPU, time_and_memory(settings(fewer, SMALL, CPU), fewer, SMALL, CPU)))
    assert "\nleft out 1,200 repeat another row, 2 are filtered or empty\n" in shown


@pytest.mark.parametrize("data, model, machine, said", [
    (replace(DATA, latin=0.02), SMALL, CPU, "only 2% of the letters"),
    (replace(DATA, gate_groups=18), SMALL, CPU, "18 independent questions"),
    (replace(DATA, text=dict.fromkeys(DATA.text, 0), labels=DATA.text), SMALL, CPU, "ends after round 0"),
    (replace(DATA, prompt_tokens=900), SMALL, CPU, "the model reads 1,024"),
    (DATA, LARGE, replace(GPU, gpu_bytes=2 * 2**30), "the GPU has 2"),
])  # fmt: skip
def test_what_stands_in_the_way_is_said(data: Data, model: Model, machine: Machine, said: str) -> None:
    made = settings(data, model, machine)
    assert said in " ".join(warnings(data, model, machine, time_and_memory(made, data, model, machine)))
    usual = settings(DATA, SMALL, CPU)
    assert not warnings(DATA, SMALL, CPU, time_and_memory(usual, DATA, SMALL, CPU))


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path, why in (
        (f"{tmp_path}/none", "no such folder"),
        ("tiny", "no such folder"),
        (str(tmp_path), "^--model: .* has no config.json; give the folder of a transformers model$"),
    ):
        with pytest.raises(UsageError, match=why):
            look_at_model(path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', "utf-8")
    with pytest.raises(UsageError, match="^--model: .* has no weights"):
        look_at_model(str(tmp_path))
    assert look_at_model("owner/name").parameters is None
    shipped = look_at_model("embedded")
    assert shipped.kind == "gptq" and shipped.parameters and 3e6 < shipped.parameters < 6e6
