"""Quantizing: the errors at once; the real thing on the real small model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from rlaif.config import ModelConfig
from rlaif.models.base import load_base
from rlaif.models.gptq import quantize
from rlaif.models.logprobs import completion_loss
from rlaif.types import RlaifError, UsageError

TEXTS = ("What helps against asthma?",)


def test_wrong_uses_are_one_line(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        quantize(tmp_path / "absent", tmp_path / "out", TEXTS)
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        quantize(tiny_model, tmp_path / "there", TEXTS)
    with pytest.raises(UsageError, match="multiple of group_size \\(128\\)"):
        quantize(tiny_model, tmp_path / "out", TEXTS, group_size=128)
    with pytest.raises(UsageError, match="bits = 5"):
        quantize(tiny_model, tmp_path / "out", TEXTS, bits=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there"]


def test_a_model_whose_files_lack_tensors_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_model, tmp_path / "m"))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(RlaifError, match=r"they lack lm_head\.weight"):
        quantize(source, tmp_path / "out", TEXTS)
    assert not (tmp_path / "out").exists()


def test_nothing_beside_the_target_is_touched(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".out.part" / "deep").mkdir(parents=True)
    (tmp_path / ".out.part" / "deep" / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))

    def break_down(source: Path, part: Path, *_: object) -> None:
        part.mkdir()
        (part / "half").write_text("half")
        raise ValueError("no room")

    monkeypatch.setattr("rlaif.models.gptq._run", break_down)
    with pytest.raises(RlaifError, match="no room"):
        quantize(tiny_model, tmp_path / "out", TEXTS)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_quantized_model_is_refused(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quantized already"):
        quantize(shared / "models" / "medlm-6m-gptq", tmp_path / "out", TEXTS)


@pytest.mark.slow
def test_the_quantized_model_loses_little(shared: Path, tmp_path: Path) -> None:
    texts = [
        "Asthma is a chronic disease of the lungs. The airways become narrow and it is hard to breathe.",
        "High blood pressure often has no symptoms. It can be treated with medicines and a healthy diet.",
        "Diabetes is a disease in which your blood glucose levels are too high. Tests include a blood test.",
    ]
    out = quantize(shared / "models" / "medlm-6m", tmp_path / "out" / "gptq", texts * 8)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["gptq"]
    for name in ("config.json", "quantize_config.json"):
        assert "/tmp" not in (out / name).read_text() and "offload_to_disk_path" not in (out / name).read_text()

    def loss(path: Path) -> float:
        base = load_base(ModelConfig(path=str(path), threads=1))
        assert base.quantization == ("gptq" if path == out else "none")
        sums = completion_loss(base.model, base.tokenizer, ["The disease:"] * 3, [" " + t for t in texts])
        return math.fsum(v for v, _ in sums) / sum(n for _, n in sums)

    assert loss(out) == pytest.approx(loss(shared / "models" / "medlm-6m"), rel=0.05)
