"""Whether a folder can be a base, without torch: its config.json and its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlaif.types import UsageError


def check_folder(folder: Path, setting: str = "model.path") -> dict[str, Any]:
    """The object in the folder's config.json. UsageError, which begins with `setting`, without one and without
    safetensors.
    """
    if not folder.is_dir():
        how = f"{setting} FOLDER" if setting.startswith("--") else f"--set {setting}=..."
        raise UsageError(f"{setting}: no folder {folder}; give a model folder with {how}")
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise UsageError(f"{setting}: {folder} holds an adapter alone; give the folder of the model it belongs to")
        raise UsageError(f"{setting}: {folder} has no config.json; give the folder of a transformers model")
    if not any(folder.glob("*.safetensors")):
        other = next((p.name for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".pt", ".pth", ".ckpt")), None)
        found = f"only {other}, and pickled weights can run code when loaded" if other else "no weights"
        raise UsageError(f"{setting}: {folder} has {found}; convert them to safetensors first")
    return read_config(folder, setting)


def read_config(folder: Path, setting: str = "model.path") -> dict[str, Any]:
    """The object in config.json. UsageError where it is none, or cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{setting}: {folder}/config.json: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{setting}: {folder}/config.json is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f"{setting}: {folder}/config.json holds no JSON object; restore it")
    return config
