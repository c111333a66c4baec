"""What changes a model beside its weights is named; what does not is no difference. No torch here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlaif.embedded import BASE, JUDGE
from rlaif.models.settings import check_settings, settings_of
from rlaif.types import RlaifError

CONFIG = {"rope_theta": 10000.0, "eos_token_id": 2, "transformers_version": "5.1.0", "layers": list(range(60))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "config.json", CONFIG)
    put(tmp_path, "generation_config.json", {"eos_token_id": 2})
    put(tmp_path, "tokenizer_config.json", {"eos_token": "<|im_end|>", "add_bos_token": False})
    put(tmp_path, "tokenizer.json", {"model": {"vocab": {"a": 0, "b": 1}}})
    put(tmp_path, "adapter_config.json", {"lora_alpha": 32, "r": 16, "peft_version": "0.21.2"})
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}\n")
    return tmp_path


def put(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value))


def changed(name: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: put(folder, name, json.loads((folder / name).read_text()) | values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed("config.json", rope_theta=1e6), r"config.json rope_theta: 10000.0, now 1000000.0"),
        (changed("config.json", layers=[1]), r"config.json layers: sha256 \w{12}, now \[1\]"),
        (changed("config.json", rope_scaling={"factor": 8}), r'rope_scaling: nothing, now \{"factor": 8\}'),
        (
            changed("generation_config.json", eos_token_id=[2, 0]),
            r"generation_config.json eos_token_id: 2, now \[2, 0\]",
        ),
        (changed("tokenizer_config.json", eos_token="</s>"), r"eos_token: \"<\|im_end\|>\", now \"</s>\""),
        (changed("tokenizer_config.json", add_bos_token=True), "add_bos_token: false, now true"),
        (changed("adapter_config.json", lora_alpha=3200), "adapter_config.json lora_alpha: 32, now 3200"),
        (changed("adapter_config.json", use_rslora=True), "use_rslora: nothing, now true"),
        (changed("tokenizer.json", model={"vocab": {"a": 1, "b": 0}}), "tokenizer.json: sha256"),
        (lambda f: (f / "chat_template.jinja").write_text("pirate"), "chat_template.jinja: sha256"),
        (lambda f: (f / "chat_template.jinja").unlink(), r"chat_template.jinja: sha256 \w{12}, now nothing"),
        (lambda f: put(f, "special_tokens_map.json", {}), "special_tokens_map.json: nothing, now sha256"),
        (lambda f: (f / "modeling_own.py").write_text("1"), "modeling_own.py: nothing"),
    ],
)
def test_a_change_is_named(folder: Path, change: Callable[[Path], Any], words: str) -> None:
    before = settings_of(folder)
    check_settings(folder, before)
    change(folder)
    with pytest.raises(RlaifError, match=words) as raised:
        check_settings(folder, before)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


def test_many_changes_are_counted(folder: Path) -> None:
    before = settings_of(folder)
    changed("config.json", a=1, b=2, c=3, d=4, e=5)(folder)
    with pytest.raises(RlaifError, match="config.json a: .*config.json c: .*; and 2 more"):
        check_settings(folder, before)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "config.json").write_text(json.dumps(CONFIG, indent=4, sort_keys=True) + "\r\n"),
        changed("config.json", transformers_version="6.0.0", _name_or_path="/elsewhere"),
        changed("adapter_config.json", peft_version="1.0", base_model_name_or_path="moved"),
        lambda f: (f / "chat_template.jinja").write_bytes(b"{{ messages }}\r\n"),
        lambda f: (f / "README.md").write_text("words"),
        lambda f: put(f, "model.safetensors.index.json", {"weight_map": {}}),
    ],
)
def test_layout_notes_and_other_files_are_no_change(folder: Path, change: Callable[[Path], Any]) -> None:
    before = settings_of(folder)
    change(folder)
    check_settings(folder, before)


def test_where_nothing_was_recorded_nothing_is_checked(folder: Path) -> None:
    check_settings(folder, {})


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, text: str) -> None:
    (folder / "generation_config.json").write_text(text, "latin-1")
    with pytest.raises(RlaifError, match=r"generation_config.json .*restore it"):
        settings_of(folder)


def test_the_shipped_models_have_all_they_need_on_record() -> None:
    for shipped in (BASE, JUDGE):
        found = settings_of(shipped)
        assert {"tokenizer.json", "chat_template.jinja", "config.json rope_parameters"} <= set(found)
        assert found["tokenizer_config.json eos_token"] == '"<|im_end|>"'
        assert all(len(value) <= 80 for value in found.values())
