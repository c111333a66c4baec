"""Checkpoints of a training under way: where they lie in a run's folder, which one is whole, and what is left of them.

transformers writes each as `checkpoints/<policy id>/checkpoint-<step>`. Its last file is :data:`MARK`, written by
:func:`seal` with the hash of every other: a checkpoint without it, or with other bytes, is never taken. The policy id
is a hash of all that decides what is trained, so a checkpoint of other pairs, settings or seed has another folder.
This needs no torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = "checkpoints"  # in a run
MARK = "complete.json"  # in a checkpoint
PACKAGES = ("rlaif", "torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "galore-torch", "numpy")
AGAIN = "the training starts from an earlier checkpoint, or else from its first step"


@dataclass(frozen=True)
class Keep:
    """Where one training keeps its checkpoints, and how many minutes lie between two; 0: none is written."""

    folder: Path
    minutes: float
    say: Callable[[str], None] = lambda _: None


@functools.cache
def made_by(device: str) -> Mapping[str, str]:
    """What has to be the same for a training to go on bit for bit: the installed versions and the kind of device."""
    found = {"device": device}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def seal(checkpoint: Path, by: Mapping[str, str]) -> None:
    """Mark the checkpoint as whole. The mark appears at once, by rename."""
    part = checkpoint / f"{MARK}.part"
    about = {"policy": checkpoint.parent.name, "made_by": dict(by), "files": _hashes(checkpoint)}
    part.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", "utf-8")
    os.replace(part, checkpoint / MARK)


def newest(keep: Keep, by: Mapping[str, str]) -> Path | None:
    """The whole checkpoint of the latest step that was made as this process would make it.

    Those passed over are said, one line each, and deleted. None where there is none.
    """
    for checkpoint in _of(keep.folder):
        fault = _fault(checkpoint, by)
        if not fault:
            return checkpoint
        keep.say(f"the checkpoint of step {step_of(checkpoint)} is not taken: {fault}; {AGAIN}")
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def clear_others(keep: Keep) -> None:
    """Delete the checkpoints of other policies beside this one's: only one policy is trained at a time, so they are of
    a training that was given up, and each is said.
    """
    for other in sorted(path for path in keep.folder.parent.glob("*") if path.name != keep.folder.name):
        if step := last_step(other):
            keep.say(f"the checkpoint of {other.name[:8]} at step {step} is of other data or settings: deleted")
        shutil.rmtree(other, ignore_errors=True)


def clear(folder: Path) -> None:
    """Delete all checkpoints in the run in `folder`."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def clear_done(folder: Path, policies: Iterable[str]) -> None:
    """Delete the checkpoints of policies whose training is done: a process can die before :func:`clear`."""
    for policy in policies:
        shutil.rmtree(folder / FOLDER / policy, ignore_errors=True)


def under_way(folder: Path) -> int:
    """The step of the last whole checkpoint in the run in `folder`, by its mark alone; 0 where there is none."""
    return max((last_step(policy) for policy in (folder / FOLDER).glob("*")), default=0)


def last_step(of_policy: Path) -> int:
    return next((step_of(path) for path in _of(of_policy) if (path / MARK).is_file()), 0)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _of(of_policy: Path) -> list[Path]:
    """The latest first."""
    found = [path for path in of_policy.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=step_of, reverse=True)


def _hashes(checkpoint: Path) -> dict[str, str]:
    """Relative path -> sha256, of every file but the mark."""
    found = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file() and not path.name.startswith(MARK)):
        with path.open("rb") as file:
            found[path.relative_to(checkpoint).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _fault(checkpoint: Path, by: Mapping[str, str]) -> str:
    """Why the checkpoint cannot be gone on from; "" where it can."""
    try:
        about = json.loads((checkpoint / MARK).read_text("utf-8"))
        policy, made, files = about["policy"], dict(about["made_by"]), dict(about["files"])
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MARK} is damaged ({type(error).__name__})"
    if policy != checkpoint.parent.name:
        return f"it is one of policy {policy}"
    for key in sorted(made.keys() | by.keys()):
        if made.get(key) != by.get(key):
            return f"it was made with {key} {made.get(key, '(none)')}, and here is {by.get(key, '(none)')}"
    there = _hashes(checkpoint)
    for name, digest in files.items():
        if there.get(name) != digest:
            return f"{name} is damaged" if name in there else f"{name} is missing"
    return ""
