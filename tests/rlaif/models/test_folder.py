"""What is said of a folder that holds no base; without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.models.folder import check_folder
from rlaif.types import UsageError


@pytest.mark.parametrize("files, why", [
    ({}, "has no config.json; give the folder of a transformers model"),
    ({"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "holds an adapter alone"),
    ({"config.json": "{}"}, "has no weights; convert them to safetensors"),
    ({"config.json": "{}", "pytorch_model.bin": ""}, "has only pytorch_model.bin, and pickled weights can run code"),
    ({"config.json": "{", "model.safetensors": ""}, "config.json is not JSON"),
    ({"config.json": "[]", "model.safetensors": ""}, "config.json holds no JSON object"),
])  # fmt: skip
def test_what_is_no_base_is_refused_in_one_line(tmp_path: Path, files: dict[str, str], why: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(UsageError, match=why) as error:
        check_folder(tmp_path, "--model")
    assert str(error.value).startswith("--model: ") and "\n" not in str(error.value)


def test_a_folder_with_settings_and_weights_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', "utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert check_folder(tmp_path) == {"model_type": "qwen2"}
    with pytest.raises(UsageError, match="^model.path: no folder .*none; give a model folder with --set model.path="):
        check_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="^--model: no folder .*none; give a model folder with --model FOLDER$"):
        check_folder(tmp_path / "none", "--model")
