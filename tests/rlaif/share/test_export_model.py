"""Exports answer as the policy did, load without this project, and never overwrite."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from rlaif.embedded import BASE
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.share.card_parts import front_matter, table
from rlaif.share.export_model import Answers, Difference, asked, export
from rlaif.types import RlaifError, UsageError

QUIET = Screen(Console(file=io.StringIO()))


def run_card(folder: Path, **places: Path) -> str:
    """What the Python in the folder's card prints in a process that cannot import this project."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code
    text = code[1].replace('FOLDER = "."', f"FOLDER = {str(folder)!r}")
    for name, path in places.items():
        text = re.sub(rf'^{name} = ".*?"', f"{name} = {str(path)!r}", text, flags=re.MULTILINE)
    text += "\nimport sys\nassert not {'rlaif', 'judges', 'stores'} & {m.split('.')[0] for m in sys.modules}\n"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "GPTQMODEL_CPU_WORKERS": "2",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", text], cwd=folder, env=env, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_words_of_a_difference() -> None:
    assert str(Difference(50, 50, 1.0, 0.5, 0.5)) == (
        "greedy answers equal on 50 of 50 prompts; loss of the references 0.5000 -> 0.5000 nats per token (+0.0000)"
    )
    assert (
        str(Difference(50, 31, 0.75, None, None))
        == "greedy answers equal on 31 of 50 prompts, mean token F1 between the two 0.7500"
    )
    found = Answers(["a b", "c"], [(2.0, 4), (2.0, 4)]).against(Answers(["a b", "d"], [(4.0, 4), (4.0, 4)]))
    assert found == Difference(2, 1, 0.5, 0.5, 1.0)


def test_what_is_there_is_not_overwritten(paired_run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    for name in ("full", "file"):
        with pytest.raises(UsageError, match="is not an empty folder"):
            export(paired_run, "champion", "adapter", tmp_path / name, "float32", QUIET)
    with pytest.raises(UsageError, match="the base has no adapter"):
        export(paired_run, "base", "adapter", tmp_path / "new", "float32", QUIET)


def test_cards_are_yaml_and_markdown() -> None:
    text = front_matter({"license": "other", "tags": ["a: b", "c"], "configs": [{"path": "data/train-*"}]})
    assert yaml.safe_load(text.strip("-")) == {
        "license": "other",
        "tags": ["a: b", "c"],
        "configs": [{"path": "data/train-*"}],
    }
    assert table(["a"], [["x|y\nz"]]).splitlines()[-1] == "| x\\|y z |"


@pytest.mark.slow
def test_a_damaged_adapter_leaves_nothing_behind(paired_run: Run, tmp_path: Path) -> None:
    (paired_run.policies / "5f70000000000000").mkdir(parents=True)
    for name in (".adapter.part", ".adapter.merged"):  # somebody else's
        (tmp_path / "out" / name / "deep").mkdir(parents=True)
        (tmp_path / "out" / name / "deep" / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RlaifError, match="no weights"):
        export(paired_run, "champion", "adapter", tmp_path / "out" / "adapter", "float32", QUIET)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_adapter_and_merged_answer_as_the_policy_did(trained_run: Run, tmp_path: Path) -> None:
    """Greedy text on 50 prompts: the exported adapter on the dequantized base against the exported merged model, both
    float32.
    """
    from rlaif.config import ModelConfig
    from rlaif.models.adapter import load_adapter
    from rlaif.models.base import load_base
    from rlaif.prompts import load_prompt

    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    merged.mkdir()  # an empty folder may be there
    assert export(trained_run, "champion", "adapter", adapter, "float32", QUIET) is None
    difference = export(trained_run, "champion", "merged", merged, "float32", QUIET)
    assert difference is not None and (difference.n, difference.equal) == (50, 50)
    base = load_base(ModelConfig(threads=1))
    whole = load_base(ModelConfig(path=str(merged), threads=1))
    assert (base.quantization, whole.quantization) == ("gptq", "none")
    prompt, questions = load_prompt(trained_run.config.prompts.policy), asked(trained_run)
    one = Answers.of(base, load_adapter(base, adapter), prompt, questions, trained_run, QUIET, "")
    two = Answers.of(whole, whole.model, prompt, questions, trained_run, QUIET, "")
    plain = Answers.of(base, base.model, prompt, questions, trained_run, QUIET, "")
    assert one.texts == two.texts and len(one.texts) == 50
    assert one.texts != plain.texts, "the adapter does something"

    assert run_card(adapter, BASE=BASE) == run_card(merged)
    card = (merged / "README.md").read_text()
    assert "greedy answers equal on 50 of 50 prompts" in card and "medical advice" in card
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["library_name"]) == ("apache-2.0", "transformers")
    for folder in (adapter, merged):
        for path in folder.glob("*.*"):
            if path.suffix in (".json", ".md"):
                assert str(tmp_path) not in path.read_text() and str(trained_run.folder) not in path.read_text()
    assert {p.name for p in tmp_path.iterdir()} == {"adapter", "merged"}


@pytest.mark.slow
def test_gptq_says_how_far_it_is_from_the_policy(trained_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "gptq"
    difference = export(trained_run, "sft", "gptq", out, "float32", QUIET)
    assert difference is not None and difference.n == 50
    assert difference.loss_after == pytest.approx(difference.loss_before, rel=0.2)
    assert str(difference) in (out / "README.md").read_text()
    settings = json.loads((out / "config.json").read_text())["quantization_config"]
    assert (settings["bits"], settings["group_size"]) == (4, 32), "the base's own"
    assert run_card(out)
    assert {p.name for p in tmp_path.iterdir()} == {"gptq"}
