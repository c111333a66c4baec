import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.data import load_questions
from rlaif.data.pubmedqa import UNOFFICIAL, load
from rlaif.types import DataError, content_id

SHARED = Path(os.environ.get("RLAIF_SHARED", Path(__file__).parents[4] / "shared"))
REAL = SHARED / "data" / "pubmedqa_labeled.parquet"


def row(pubid=1, **changes):
    return {
        "pubid": pubid,
        "question": f"Does tea {pubid} help?",
        "context": {"contexts": ["We gave tea.", "It was warm."], "labels": ["METHODS", "RESULTS"], "meshes": ["Tea"]},
        "long_answer": "Tea may help.",
        "final_decision": "yes",
    } | changes


def jsonl(tmp_path, *rows):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def official(tmp_path, labels, test_ids=None):
    records = {
        str(pmid): {
            "QUESTION": f"Does tea {pmid} help?",
            "CONTEXTS": ["We gave tea.", "It was warm."],
            "LABELS": ["METHODS", "RESULTS"],
            "LONG_ANSWER": "Tea may help.",
            "final_decision": label,
        }
        for pmid, label in enumerate(labels)
    }
    path = tmp_path / "ori_pqal.json"
    path.write_text(json.dumps(records))
    if test_ids is not None:
        (tmp_path / "test_ground_truth.json").write_text(json.dumps({str(i): labels[i] for i in test_ids}))
    return path


def test_one_row(tmp_path):
    loaded = load(jsonl(tmp_path, row(7, split="dev", cv_fold=4)))
    (q,) = loaded.questions
    context = "We gave tea.\nIt was warm."
    assert (q.dataset, q.split, q.source_id, q.group_id) == ("pubmedqa", "gate", "7", "7")
    assert (q.question, q.context, q.reference, q.label) == ("Does tea 7 help?", context, "Tea may help.", "yes")
    assert q.flags == () and q.key_points == ()
    assert q.question_id == content_id("pubmedqa", "7", "Does tea 7 help?", context, "yes")
    assert loaded.report == {
        "rows": 1,
        "questions": 1,
        "splits": {"gate": 1},
        "labels": {"yes": 1},
        "unofficial_split": 0,
    }


def test_same_questions_from_every_format(tmp_path, monkeypatch):
    labels = ["yes", "no", "maybe"]
    rows = [row(i, final_decision=label) for i, label in enumerate(labels)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    (tmp_path / "t.json").write_text(json.dumps(rows))
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((*args, kwargs["split"]))
        return rows

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    want = load(jsonl(tmp_path, *rows)).questions
    sources = [tmp_path / "t.parquet", tmp_path / "t.json", official(tmp_path, labels), "qiaojin/PubMedQA"]
    for source in sources:
        assert load(source).questions == want, source
    assert asked == [("qiaojin/PubMedQA", "pqa_labeled", "train")]


def test_folds_and_test_rows_decide_the_split(tmp_path):
    rows = [row(i, split="dev", cv_fold=i) for i in range(10)] + [row(10, split="test", cv_fold=None)]
    questions = load(jsonl(tmp_path, *rows)).questions
    assert [q.split for q in questions] == ["gate"] * 5 + ["train"] * 5 + ["sealed"]
    assert not any(q.flags for q in questions)


def test_unofficial_split_is_stratified_flagged_and_independent_of_order(tmp_path):
    rows = [row(i, final_decision="yes" if i < 40 else "no" if i < 60 else "maybe") for i in range(68)]
    loaded = load(jsonl(tmp_path, *rows))
    counts = Counter((q.label, q.split) for q in loaded.questions)
    for label, n in (("yes", 40), ("no", 20), ("maybe", 8)):
        assert [counts[label, s] for s in ("sealed", "gate", "train")] == [n // 2, n // 4, n // 4]
    assert all(q.flags == (UNOFFICIAL,) for q in loaded.questions) and loaded.report["unofficial_split"] == 68
    again = load(jsonl(tmp_path, *reversed(rows))).questions
    assert {q.question_id: q.split for q in again} == {q.question_id: q.split for q in loaded.questions}


def test_official_release_with_test_ids(tmp_path):
    path = official(tmp_path, ["yes", "no"] * 6, test_ids=[0, 1, 5])
    loaded = load(path)
    sealed = [q for q in loaded.questions if q.split == "sealed"]
    assert [q.source_id for q in sealed] == ["0", "1", "5"] and not any(q.flags for q in sealed)
    rest = [q for q in loaded.questions if q.split != "sealed"]
    # 5 yes and 4 no are left: the odd one goes to the gate
    assert Counter(q.split for q in rest) == {"gate": 5, "train": 4} and all(q.flags == (UNOFFICIAL,) for q in rest)
    official(tmp_path, ["yes", "no"] * 6, test_ids=[0, 1])
    assert load(path).data_sha256 != loaded.data_sha256


def test_eval_only_takes_every_row_and_trains_on_none(tmp_path):
    rows = [row(1, split="dev", cv_fold=None), row(2, split="test"), row(3)]
    loaded = load(jsonl(tmp_path, *rows), eval_only=True)
    assert [(q.split, q.flags) for q in loaded.questions] == [("sealed", ())] * 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [row(), row(2, final_decision="perhaps")],
            "t.jsonl line 2: final_decision is 'perhaps'; needed yes, no or maybe",
        ),
        ([row(), row(2, final_decision=["yes"])], "t.jsonl line 2: final_decision is ['yes']; needed"),
        ([row(), row(2), row("1")], "t.jsonl line 3: pubid 1 stands 2 times; keep one row for each"),
        ([row(True)], "t.jsonl line 1: pubid is True; needed a PubMed id"),
        ([row(question=3)], "t.jsonl line 1: question is int 3; needed text"),
        ([row(question="")], "t.jsonl line 1: question is empty; needed text"),
        ([row(context="text")], "t.jsonl line 1: context is str 'text'; needed {contexts: list of texts}"),
        ([row(context={"contexts": []})], "t.jsonl line 1: context is dict"),
        ([row(long_answer=1.5)], "t.jsonl line 1: long_answer is float 1.5; needed text"),
        ([row(split="train")], "t.jsonl line 1: split is 'train'; needed test or dev"),
        ([row(split="dev", cv_fold=10)], "t.jsonl line 1: cv_fold is 10 in a dev row; needed 0 to 9"),
        ([row(split="dev", cv_fold=None)], "t.jsonl line 1: cv_fold is None in a dev row; needed 0 to 9"),
        ([row(cv_fold=1)], "column cv_fold without split"),
        (
            [{"id": 1, "question": "q"}],
            (
                "columns pubid, context, long_answer, final_decision missing; found id, question; needed "
                "pubid, question, context"
            ),
        ),
    ],
)
def test_bad_rows(tmp_path, rows, message):
    with pytest.raises(DataError) as caught:
        load(jsonl(tmp_path, *rows))
    assert message in str(caught.value)


def folds(tmp_path):
    """BioGPT's folder: three folds and the official list of test items side by side."""
    for name, ids in (("train_set", range(8)), ("dev_set", range(8, 12)), ("test_set", range(12, 16))):
        path = official(tmp_path, ["yes", "no"] * 8)
        records = json.loads(path.read_text())
        (tmp_path / f"{name}.json").write_text(json.dumps({str(i): records[str(i)] for i in ids}))
    official(tmp_path, ["yes", "no"] * 8, test_ids=range(12, 16))
    return tmp_path


def test_folds_beside_the_official_test_list(tmp_path):
    sides = {
        name: {q.split for q in load(folds(tmp_path) / f"{name}.json").questions}
        for name in ("train_set", "dev_set", "test_set", "ori_pqal")
    }
    assert sides["train_set"] == sides["dev_set"] == {"train", "gate"} and sides["test_set"] == {"sealed"}
    assert sides["ori_pqal"] == {"train", "gate", "sealed"}


@pytest.mark.parametrize("name", ["train_fold3", "dev", "valid_set", "my_half"])
def test_folds_by_other_names(tmp_path, name):
    """A name that says fold is enough; any other needs the test_set.json that the list is about."""
    (folds(tmp_path) / "train_set.json").rename(tmp_path / f"{name}.json")
    if name != "my_half":
        (tmp_path / "test_set.json").unlink()
    assert {q.split for q in load(tmp_path / f"{name}.json").questions} == {"train", "gate"}


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"99": "yes"}, "names no PubMed id of ori_pqal.json"),
        ({"0": "Yes"}, "needed {id: yes, no or maybe}"),
        (["0"], "needed {id: yes, no or maybe}"),
        ({}, "needed {id: yes, no or maybe}"),
        ({"0": "no"}, "id 0: final_decision is 'yes', but test_ground_truth.json beside it says no"),
    ],
)
def test_an_official_list_that_does_not_fit(tmp_path, truth, message):
    path = official(tmp_path, ["yes"])
    (tmp_path / "test_ground_truth.json").write_text(json.dumps(truth))
    with pytest.raises(DataError) as caught:
        load(path)
    assert message in str(caught.value)


def test_a_test_fold_that_the_official_list_knows_only_in_part(tmp_path):
    (tmp_path / "test_set.json").write_text(official(tmp_path, ["yes", "no"], test_ids=[0]).read_text())
    with pytest.raises(DataError, match="names 1 of the 2 ids of test_set.json"):
        load(tmp_path / "test_set.json")


def test_json_lines_by_the_name_of_the_release(tmp_path):
    rows = [row(i) for i in range(4)]
    (tmp_path / "t.json").write_text(jsonl(tmp_path, *rows).read_text())
    assert load(tmp_path / "t.json").questions == load(tmp_path / "t.jsonl").questions


def test_bad_official_release(tmp_path):
    path = official(tmp_path, ["yes"])
    path.write_text('{"5": {"QUESTION": "q", "CONTEXTS": ["c"]}}')
    with pytest.raises(DataError, match="id 5: key LONG_ANSWER, final_decision missing; found QUESTION, CONTEXTS"):
        load(path)
    path.write_text('{"5": {}, "5": {}}')
    with pytest.raises(DataError, match="key '5' stands twice"):
        load(path)


@pytest.mark.skipif(not REAL.exists(), reason=f"needs {REAL} (set RLAIF_SHARED)")
def test_real_data():
    loaded = load_questions("pubmedqa", str(REAL))
    assert len(loaded.questions) == 750 and loaded.report["unofficial_split"] == 0
    assert loaded.report["splits"] == {"sealed": 250, "gate": 250, "train": 250}
    dev = Counter(q.label for q in loaded.questions if q.split != "sealed")
    assert dev == {"yes": 276, "no": 169, "maybe": 55}
    assert Counter(q.label for q in loaded.questions if q.split == "sealed") == {"yes": 138, "no": 84, "maybe": 28}
    assert len({q.question_id for q in loaded.questions}) == 750 and len(loaded.data_sha256) == 64
