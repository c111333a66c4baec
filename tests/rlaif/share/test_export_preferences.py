"""Exported preferences in other hands: `datasets`, a plain DPOTrainer, the hub."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlaif.prompts import load_prompt
from rlaif.run import Run, open_run
from rlaif.share.cards import Card, model_card
from rlaif.share.export_preferences import export_preferences
from rlaif.types import RlaifError, UsageError


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_datasets_loads_the_folder_as_its_card_says(paired_run: Run, tmp_path: Path, kind: str) -> None:
    from datasets import load_dataset

    export_preferences(paired_run, kind, tmp_path / "prefs", "")
    pairs = load_dataset(str(tmp_path / "prefs"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(pairs) == 4 and pairs[0]["chosen"][0]["role"] == "assistant"
    card = (tmp_path / "prefs" / "README.md").read_text()
    assert "medical advice" in card and "| 1 | 5f70000000000000 | reference | 4 | 0.500 |" in card
    assert str(tmp_path) not in card


def test_cards_name_what_sampled_the_answers(paired_run: Run, tmp_path: Path) -> None:
    run = open_run(Path(shutil.copytree(paired_run.folder, tmp_path / "copy")))
    card = Card(run, run.policy("sft"), "adapter", load_prompt("prompts/policy/answer.md"), "", "0" * 64, "Tokenizer")
    export_preferences(run, "jsonl", tmp_path / "here", "")
    assert "sampled by" not in (tmp_path / "here" / "README.md").read_text() + model_card(card)
    run.store.execute([("UPDATE candidates SET sampling = ?", ['{"engine": "vllm 0.32.0"}'])])
    export_preferences(run, "jsonl", tmp_path / "there", "")
    for text in ((tmp_path / "there" / "README.md").read_text(), model_card(card)):
        assert "Answers were sampled by vllm 0.32.0: the same seed need not give them again." in text


@pytest.mark.parametrize("name", ["prefs", "prefs.parquet"])
def test_nothing_beside_the_target_is_touched(paired_run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / f".{name}.part" / "deep").mkdir(parents=True)
    (tmp_path / f".{name}.part" / "deep" / "mine").write_text("mine")
    before = {p for p in tmp_path.rglob("*") if paired_run.folder not in p.parents}
    export_preferences(paired_run, "parquet", tmp_path / name, "")
    made = {p for p in tmp_path.rglob("*") if paired_run.folder not in p.parents} - before
    assert {p.name for p in made} == ({"prefs", "train.parquet", "README.md"} if name == "prefs" else {
        "prefs.parquet", "prefs.README.md"})  # fmt: skip
    assert (tmp_path / f".{name}.part" / "deep" / "mine").read_text() == "mine"


@pytest.mark.slow
def test_a_plain_dpo_trainer_trains_on_it(paired_run: Run, tiny_model: Path, tmp_path: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    export_preferences(paired_run, "parquet", tmp_path / "prefs", "")
    pairs = load_dataset(
        "parquet",
        data_files=str(tmp_path / "prefs" / "train.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype="float32")
    args = DPOConfig(
        str(tmp_path / "out"),
        max_steps=2,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        max_length=256,
        bf16=False,
    )
    trainer = DPOTrainer(
        model, args=args, train_dataset=pairs, processing_class=AutoTokenizer.from_pretrained(tiny_model)
    )
    assert trainer.train().training_loss > 0


def test_the_hub_gets_rows_and_card_with_the_token(paired_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    calls: list[Any] = []
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(datasets.Dataset, "push_to_hub", lambda self, repo, **kw: calls.append((repo, len(self), kw)))
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_file", lambda self, **kw: calls.append(kw))
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_exists", lambda self, repo, **kw: False)
    assert (
        export_preferences(paired_run, "hub", None, "me/pairs") == "4 pairs in the private data set me/pairs on the hub"
    )
    assert calls[0] == ("me/pairs", 4, {"token": "hf_secret", "private": True})
    assert calls[1]["repo_type"] == "dataset" and re.search(rb'"path": "data/train-\*"', calls[1]["path_or_fileobj"])


def test_the_hub_out_of_reach_is_one_line_without_the_token(paired_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route with hf_secret\nand more")

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(datasets.Dataset, "push_to_hub", fail)
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_exists", lambda self, repo, **kw: False)
    with pytest.raises(RlaifError, match="ConnectionError: no route") as error:
        export_preferences(paired_run, "hub", None, "me/pairs")
    assert "hf_secret" not in str(error.value) and "\n" not in str(error.value)
    for repo in ("", "pairs", "/pairs"):
        with pytest.raises(UsageError, match="owner/name"):
            export_preferences(paired_run, "hub", None, repo)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UsageError, match="HF_TOKEN"):
        export_preferences(paired_run, "hub", None, "me/pairs")
