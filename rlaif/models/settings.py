"""What a model folder says beside its weights: configuration, tokenizer, chat template, generation settings, adapter.

The hash of the weights does not change with them, and yet each of them changes what a model says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.types import RlaifError

# Read by key, so that a difference can be named, and a file that was only laid out anew is no difference.
KEYED = ("config.json", "generation_config.json", "tokenizer_config.json", "adapter_config.json")
WHOLE = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
MORE = ("additional_chat_templates/*.jinja", "*.py")  # the second: code of a model that is trusted to bring its own
# Who wrote a file, and where it lay: it changes nothing of what the model says.
NOTES = ("_name_or_path", "transformers_version", "peft_version", "base_model_name_or_path", "name_or_path")
LONG = 80  # characters of a value that is kept as it is; of longer ones, the hash


def settings_of(folder: Path) -> dict[str, str]:
    """Name -> value of all settings in `folder`: "config.json rope_theta" -> its JSON, where that is short, else its
    SHA-256; "tokenizer.json" -> the SHA-256 of the file, line ends read as LF.

    Raises RlaifError, naming the file, for one that cannot be read.
    """
    found: dict[str, str] = {}
    for name in KEYED:
        for key, value in _object(folder / name).items():
            if key not in NOTES:
                text = json.dumps(value, sort_keys=True, ensure_ascii=False)
                found[f"{name} {key}"] = text if len(text) <= LONG else f"sha256 {_sha256(text.encode())}"
    paths = [folder / name for name in WHOLE] + [path for pattern in MORE for path in sorted(folder.glob(pattern))]
    for path in paths:
        if path.is_file():
            content = _bytes(path).replace(b"\r\n", b"\n")
            found[path.relative_to(folder).as_posix()] = f"sha256 {_sha256(content)}"
    return found


def check_settings(folder: Path, recorded: Mapping[str, str]) -> None:
    """RlaifError, naming the files and keys that differ, when the settings in `folder` are not the recorded ones.
    Nothing recorded: nothing is checked.
    """
    found = settings_of(folder) if recorded else {}
    differ = [name for name in sorted({*recorded, *found}) if recorded.get(name) != found.get(name)]
    if differ:
        shown = "; ".join(f"{name}: {_short(recorded.get(name))}, now {_short(found.get(name))}" for name in differ[:3])
        more = f"; and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise RlaifError(
            f"{folder}: its settings have changed since this run recorded them ({shown}{more}); put them back, or "
            "start a new run with --run DIR"
        )


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(_bytes(path).decode("utf-8"))
    except ValueError as error:
        raise RlaifError(f"{path} is not JSON ({error}); restore it") from error
    if not isinstance(value, dict):
        raise RlaifError(f"{path} holds no JSON object; restore it")
    return value


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RlaifError(f"{path}: {error.strerror}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _short(value: str | None) -> str:
    return "nothing" if value is None else value[:19] if value.startswith("sha256 ") else value
