"""Which checkpoint of a training is taken, what is said of the others, and what is deleted. No torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rlaif import checkpoints
from rlaif.checkpoints import MARK, Keep

BY = {"device": "cpu", "torch": "2.13.0", "trl": "1.16.0"}
POLICY = "f1d8283b71380286"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def keep(tmp_path: Path, said: list[str]) -> Keep:
    return Keep(tmp_path / checkpoints.FOLDER / POLICY, 10.0, said.append)


def write(keep: Keep, step: int, *, whole: bool = True) -> Path:
    folder = keep.folder / f"checkpoint-{step}"
    (folder / "ref").mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"moments" * step)
    (folder / "ref" / "adapter_model.safetensors").write_bytes(b"weights" * step)
    if whole:
        checkpoints.seal(folder, BY)
    return folder


def test_the_latest_step_is_taken(keep: Keep, said: list[str]) -> None:
    assert checkpoints.newest(keep, BY) is None
    for step in (9, 10, 100, 20):
        write(keep, step)
    found = checkpoints.newest(keep, BY)
    assert found == keep.folder / "checkpoint-100" and checkpoints.step_of(found) == 100
    assert said == [] and len(list(keep.folder.iterdir())) == 4


def test_one_without_its_mark_was_not_finished(keep: Keep, said: list[str]) -> None:
    write(keep, 10)
    write(keep, 20, whole=False)
    (keep.folder / "checkpoint-20" / f"{MARK}.part").write_text("{}")
    assert checkpoints.under_way(keep.folder.parents[1]) == 10
    assert checkpoints.newest(keep, BY) == keep.folder / "checkpoint-10"
    assert said == [
        "the checkpoint of step 20 is not taken: it was not finished; the training starts from an earlier checkpoint, "
        "or else from its first step"
    ]
    assert not (keep.folder / "checkpoint-20").exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "ref/adapter_model.safetensors"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_a_damaged_file_is_found(keep: Keep, said: list[str], name: str, harm: str) -> None:
    file = write(keep, 10) / name
    content = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if harm == "cut" else bytes([content[0] ^ 1]) + content[1:])
    assert checkpoints.newest(keep, BY) is None
    (line,) = said
    assert line.startswith(
        f"the checkpoint of step 10 is not taken: {name} is {'missing' if harm == 'gone' else 'damaged'};"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"policy": "x"}', "\udcff"])
def test_a_damaged_mark_is_found(keep: Keep, said: list[str], text: str) -> None:
    (write(keep, 10) / MARK).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert checkpoints.newest(keep, BY) is None
    assert f"{MARK} is damaged" in said[0]


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (BY | {"torch": "2.14.0"}, "it was made with torch 2.13.0, and here is 2.14.0"),
        (BY | {"device": "cuda"}, "it was made with device cpu, and here is cuda"),
        (BY | {"bitsandbytes": "0.50"}, "it was made with bitsandbytes (none), and here is 0.50"),
        ({"device": "cpu", "torch": "2.13.0"}, "it was made with trl 1.16.0, and here is (none)"),
    ],
)
def test_what_other_versions_or_another_device_made_is_not_taken(
    keep: Keep, said: list[str], by: dict[str, str], why: str
) -> None:
    write(keep, 10)
    assert checkpoints.newest(keep, by) is None
    assert why in said[0]


def test_one_that_was_moved_from_another_policy_is_not_taken(keep: Keep, said: list[str]) -> None:
    write(keep, 10)
    other = replace(keep, folder=keep.folder.with_name("0" * 16))
    keep.folder.rename(other.folder)
    assert checkpoints.newest(other, BY) is None
    assert f"it is one of policy {POLICY}" in said[0]


def test_those_of_other_policies_are_deleted_and_named(keep: Keep, said: list[str]) -> None:
    write(keep, 10)
    other = replace(keep, folder=keep.folder.with_name("ab" * 8))
    write(other, 30)
    write(replace(keep, folder=keep.folder.with_name("cd" * 8)), 40, whole=False)
    checkpoints.clear_others(keep)
    assert said == ["the checkpoint of abababab at step 30 is of other data or settings: deleted"]
    assert [path.name for path in keep.folder.parent.iterdir()] == [POLICY]


def test_clearing_leaves_what_it_is_not_asked_for(keep: Keep, tmp_path: Path) -> None:
    write(keep, 10)
    checkpoints.clear_done(tmp_path, ["ab" * 8])
    assert checkpoints.under_way(tmp_path) == 10
    checkpoints.clear_done(tmp_path, [POLICY])
    assert checkpoints.under_way(tmp_path) == 0 and not keep.folder.exists()
    checkpoints.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []
    checkpoints.clear(tmp_path)  # nothing there is nothing to do


def test_the_mark_names_every_file_and_the_versions(keep: Keep) -> None:
    about = json.loads((write(keep, 10) / MARK).read_text())
    assert set(about["files"]) == {"optimizer.pt", "ref/adapter_model.safetensors"}
    assert about["policy"] == POLICY and about["made_by"] == BY
    made = checkpoints.made_by("cpu")
    assert made["device"] == "cpu" and {"torch", "transformers", "trl", "peft"} <= made.keys()
