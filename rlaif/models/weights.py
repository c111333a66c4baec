"""The hash of a folder of weights, and the check against a recorded one, without loading them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from rlaif.types import RlaifError


@dataclass(frozen=True, slots=True)
class _Tensor:
    path: Path
    start: int  # in bytes, from the file's beginning
    length: int
    described: str  # name, dtype and shape


def _tensors(folder: Path) -> dict[str, _Tensor]:
    """Name -> where each tensor of all *.safetensors in `folder` lies, from their headers alone. RlaifError for a
    damaged file.
    """
    tensors: dict[str, _Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(size)) if size < 1 << 28 else {}
            header.pop("__metadata__", None)
            for name, entry in header.items():
                start, end = entry["data_offsets"]
                if 8 + size + end > path.stat().st_size:
                    raise ValueError("cut short")
                described = f"{name} {entry['dtype']} {entry['shape']}"
                tensors[name] = _Tensor(path, 8 + size + start, end - start, described)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RlaifError(f"{path}: a damaged safetensors file ({error}); restore it or make it again") from error
    return tensors


def tensor_names(folder: Path) -> set[str]:
    """The names of all tensors in the *.safetensors of `folder`. RlaifError for a damaged file."""
    return set(_tensors(folder))


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the tensors (name, dtype, shape, bytes, by name) of all *.safetensors in `folder`: not over paths,
    metadata or shards.

    Raises RlaifError when there are none or a file is damaged.
    """
    tensors = _tensors(folder)
    if not tensors:
        raise RlaifError(
            f"{folder}: no weights (*.safetensors) there; restore the folder, or start the run again "
            "under another --run"
        )
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        length = tensor.length
        digest.update(tensor.described.encode() + b"\n")
        with tensor.path.open("rb") as file:
            file.seek(tensor.start)
            while length > 0 and (block := file.read(min(length, 1 << 24))):
                digest.update(block)
                length -= len(block)
    return digest.hexdigest()


def check_weights(folder: Path, expected_sha256: str | None) -> None:
    """RlaifError when the adapter in `folder` is missing, damaged or not the recorded one (None: nothing was
    recorded).
    """
    found = weights_sha256(folder)
    if expected_sha256 is not None and found != expected_sha256:
        raise RlaifError(
            f"{folder}: the adapter's weights have changed (sha256 {found[:12]}, recorded {expected_sha256[:12]}); "
            "restore the folder, or start the run again under another --run"
        )
