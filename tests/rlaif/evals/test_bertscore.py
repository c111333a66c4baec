"""BERTScore against a computation of one pair at a time, written out here, with a small random BERT."""

from __future__ import annotations

from pathlib import Path

from rlaif.quiet import quiet

import pytest

from rlaif.evals.bertscore import BertScore, bertscore, load_encoder
from rlaif.types import UsageError

pytestmark = pytest.mark.slow
ANSWERS = ["rest", "take water and rest, then see a doctor about the fever", "a b", "", "fever", "no", "x " * 200]
REFERENCES = ["rest and water", "see a doctor", "b a", "rest", " ", "no", "rest"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        import torch
        from transformers import BertConfig, BertModel, BertTokenizerFast

        made = tmp_path_factory.mktemp("encoder")
        letters = "abcdefghijklmnopqrstuvwxyz,"
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
        (made / "vocab.txt").write_text("\n".join(words))
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=64, initializer_range=0.5,
        )  # fmt: skip
        BertModel(config).save_pretrained(made)
        BertTokenizerFast(vocab=str(made / "vocab.txt"), model_max_length=64).save_pretrained(made)
    return made


def directly(folder: Path, answer: str, reference: str) -> tuple[float, float, float]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vectors(text: str) -> torch.Tensor:
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=64)).last_hidden_state[0]
        return hidden / hidden.norm(dim=-1, keepdim=True)

    cosine = vectors(answer) @ vectors(reference).T
    precision = [float(row.max()) for row in cosine][1:-1]  # between [CLS] and [SEP]
    recall = [float(column.max()) for column in cosine.T][1:-1]
    p, r = sum(precision) / len(precision), sum(recall) / len(recall)
    return p, r, 2 * p * r / (p + r)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_each_pair_is_scored_as_it_would_be_alone(folder: Path, batch_size: int) -> None:
    encoder = load_encoder(str(folder))
    steps: list[int] = []
    found = bertscore(encoder, ANSWERS, REFERENCES, batch_size, steps.append)
    assert sum(steps) == len(ANSWERS)
    for i, (answer, reference) in enumerate(zip(ANSWERS, REFERENCES, strict=True)):
        if answer.strip() and reference.strip():
            assert (found[i].precision, found[i].recall, found[i].f1) == pytest.approx(
                directly(folder, answer, reference), abs=1e-5
            )
    assert found[3] == found[4] == BertScore(0.0, 0.0, 0.0), "an empty text shares nothing"
    assert found[5].f1 == pytest.approx(1.0, abs=1e-5)
    assert found[0].f1 != pytest.approx(found[1].f1, abs=1e-3)


def test_no_pairs(folder: Path) -> None:
    assert bertscore(load_encoder(str(folder)), [], []) == []


def test_a_folder_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--bertscore: no folder .*; give a model folder with --bertscore FOLDER$"):
        load_encoder(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="--bertscore: .* has no config.json"):
        load_encoder(str(tmp_path))
