"""1,000 broken files of each kind: read or refused in one line, within ten seconds, and no label that was not there.

Bytes are changed anywhere (flipped, inserted, deleted, doubled, cut off), and JSON also by its values (replaced, keys
renamed, left out). Each file is small; its rows are longer than any one change, so that a change cannot join the
question of one row to the label of another.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from rlaif.config import DataSet
from rlaif.data import load_questions
from rlaif.data.sets import load_set
from rlaif.data.tables import read_table
from rlaif.share.import_preferences import place, read_pairs
from rlaif.types import Question, RlaifError

pytestmark = pytest.mark.stress

SECONDS = 10
LONGEST = 48  # bytes of one change
FILLER = " ".join(f"word{n}" for n in range(80))
LABELS = ("yes", "no", "maybe")
TEXTS = ("Rest", "Zinc", "Tea", "Salt")
N = 6
ASKED = [f"Does remedy number {i} shorten spell number {i}?" for i in range(N)]
PIECES = [piece.encode() for piece in "\0 \" ' , ; \t { } [ ] : null NaN -Infinity 1e999 < > & </ <!-- ]]>".split(" ")]
PIECES += [b"\n", b"\r\n", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\", b"yes", b"no", b"\xef\xbb\xbf", b"9" * 40]
PIECES += [b'"final_decision": "no"', b"PAR1", b"PK\x03\x04", b"sep=;\n", b'<?xml version="1.0" encoding="utf-7"?>']
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.just({}),
    st.just([]),
    st.lists(st.text(max_size=3), max_size=3),
    st.sampled_from(["yes", "no", "A", "B", "[{'role': 'user'}]", "\u200b", " "]),
)


def changed(data: st.DataObject, content: bytes) -> bytes:
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        size = data.draw(st.integers(1, LONGEST))
        kind = data.draw(st.sampled_from(["flip", "insert", "delete", "double", "cut"]))
        if kind == "flip" and at < len(content):
            content = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
        elif kind == "insert":
            content = content[:at] + data.draw(st.sampled_from(PIECES)) + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + size :]
        elif kind == "double":
            content = content[: at + size] + content[at : at + size] + content[at + size :]
        elif kind == "cut" and data.draw(st.integers(0, 9)) == 0:
            content = content[:at]
    return content


def retyped(data: st.DataObject, tree: Any) -> Any:
    """JSON with up to three values replaced, renamed or left out, at any depth."""
    tree = copy.deepcopy(tree)
    for _ in range(data.draw(st.integers(1, 3))):
        node, depth = tree, data.draw(st.integers(1, 5))
        while depth and isinstance(node, dict | list) and node:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            depth -= 1
            if depth and isinstance(node[key], dict | list) and node[key]:
                node = node[key]
                continue
            kind = data.draw(st.sampled_from(["replace", "rename", "leave out"]))
            value = node.pop(key)
            if kind == "replace" and isinstance(node, dict):
                node[key] = data.draw(VALUES)
            elif kind == "replace":
                node.insert(key, data.draw(VALUES))
            elif kind == "rename" and isinstance(node, dict):
                node[
                    data.draw(st.sampled_from(["question", "chosen", "rejected", "answer", "B", "x", key.upper()]))
                ] = value
            break
    return tree


@contextmanager
def limited() -> Iterator[None]:
    """A test that hangs fails, rather than the whole suite."""

    def over(*_: Any) -> None:
        raise AssertionError(f"no answer within {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(load: Callable[[], list[Any]]) -> list[Any]:
    """What was read; nothing where the file was refused, which has to take one line."""
    with limited():
        try:
            return load()
        except RlaifError as error:
            assert str(error) and "\n" not in str(error)
            return []


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, write_page_checksum=True)
    return out.getvalue()


def comma_separated(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


PAPERS = [
    {
        "question": q,
        "context": {"contexts": [FILLER, "Some got better."]},
        "long_answer": f"It helps {i}.",
        "pubid": 9000 + i,
        "final_decision": LABELS[i % 3],
    }
    for i, q in enumerate(ASKED)
]
LABELLED = [{"q": q, "a": f"{FILLER} {i}", "l": LABELS[i % 3]} for i, q in enumerate(ASKED)]
CHOICES = [
    {"question": f"{q} {FILLER}", "options": dict(zip("ABCD", TEXTS, strict=True)), "answer_idx": "ABCD"[i % 4]}
    | {"answer": TEXTS[i % 4]}
    for i, q in enumerate(ASKED)
]  # fmt: skip
RELEASE = {
    str(p["pubid"]): {
        "QUESTION": p["question"],
        "CONTEXTS": [FILLER],
        "LONG_ANSWER": p["long_answer"],
        "final_decision": p["final_decision"],
    }
    for p in PAPERS
}
LABEL_OF = {q: LABELS[i % 3] for i, q in enumerate(ASKED)}
RIGHT_OF = {f"{q} {FILLER}": TEXTS[i % 4] for i, q in enumerate(ASKED)}


def papers(path: Path) -> list[Question]:
    return load_questions("pubmedqa", str(path)).questions


def labelled(path: Path) -> list[Question]:
    spec = DataSet(format=path.suffix[1:], path=str(path), question="q", answer="a", label="l")
    return load_set(spec, 0).questions


def choices(path: Path) -> list[Question]:
    return load_questions("medqa", str(path)).questions


def trained_choices(path: Path) -> list[Question]:
    return load_set(DataSet(format="medqa", path=str(path)), 0).questions


def check(questions: list[Question]) -> None:
    """A question that is as it was has the label that it had."""
    for q in questions:
        shown, _, _ = q.question.partition("\n")
        if q.dataset in ("medqa", "mmlu"):
            right = q.reference.partition(". ")[2] or q.reference
            assert right not in TEXTS or RIGHT_OF.get(shown, right) == right, q
        elif q.label:
            assert LABEL_OF.get(q.question, q.label) == q.label, q


FILES: dict[str, tuple[str, bytes, Callable[[Path], list[Question]]]] = {
    "csv with labels": ("t.csv", comma_separated(LABELLED), labelled),
    "jsonl with labels": ("t.jsonl", jsonl(LABELLED), labelled),
    "parquet with labels": ("t.parquet", parquet(LABELLED), labelled),
    "PubMedQA, json of the release": ("ori.json", json.dumps(RELEASE).encode(), papers),
    "PubMedQA, json list": ("list.json", json.dumps(PAPERS, indent=1).encode(), papers),
    "PubMedQA, jsonl": ("p.jsonl", jsonl(PAPERS), papers),
    "PubMedQA, parquet": ("p.parquet", parquet(PAPERS), papers),
    "MedQA, jsonl": ("c.jsonl", jsonl(CHOICES), choices),
    "MedQA to train on, json": ("c.json", json.dumps(CHOICES).encode(), trained_choices),
}
MANY = settings(max_examples=1000, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", FILES)
@seed(0)
@MANY
@given(data=st.data())
def test_bytes(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    name, content, load = FILES[kind]
    path = tmp_path / name
    path.write_bytes(changed(data, content))
    check(outcome(lambda: load(path)))


@pytest.mark.parametrize(
    "kind", ["PubMedQA, json of the release", "PubMedQA, jsonl", "MedQA, jsonl", "MedQA to train on, json"]
)
@seed(0)
@MANY
@given(data=st.data())
def test_values(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    """What a value says cannot be told wrong, so labels that are labels still are left out of the check."""
    name, content, load = FILES[kind]
    tree = [json.loads(line) for line in content.splitlines()] if name.endswith("l") else json.loads(content)
    broken = retyped(data, tree)
    path = tmp_path / name
    path.write_bytes(jsonl(broken) if name.endswith("l") else json.dumps(broken).encode())
    rows = list(broken.values()) if isinstance(broken, dict) else broken
    told = {
        str(row.get("QUESTION", row.get("question"))): row.get("final_decision")
        for row in rows
        if isinstance(row, dict)
    }
    # A choice is told twice, by its letter and by its text; where one of the two is gone, the other is what it says.
    told_once = {
        str(row.get("question"))
        for row in rows
        if isinstance(row, dict) and not (_text(row.get("answer")) and _text(row.get("answer_idx")))
    }
    for q in outcome(lambda: load(path)):
        if q.dataset == "medqa" and q.question.partition("\n")[0] in told_once:
            continue
        if q.label in LABELS:
            assert told.get(q.question, q.label) == q.label
        else:
            check([q])


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


XML = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="1" source="Own"><Focus>Spell {i}</Focus><QAPairs>
<QAPair pid="1"><Question qid="1-1" qtype="treatment">{q}</Question>
<Answer>{filler} <ul><li>answer {i}</li></ul></Answer></QAPair>
</QAPairs></Document>"""


def release(folder: Path) -> None:
    for i, q in enumerate(ASKED):
        (folder / "1_Own_QA").mkdir(parents=True, exist_ok=True)
        (folder / "1_Own_QA" / f"{i:07}.xml").write_text(XML.format(i=i, q=q, filler=FILLER))


@seed(0)
@MANY
@given(data=st.data())
def test_xml_folder(tmp_path: Path, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path / "f", ignore_errors=True)
    release(tmp_path / "f")
    path = tmp_path / "f" / "1_Own_QA" / f"{data.draw(st.integers(0, N - 1)):07}.xml"
    path.write_bytes(changed(data, path.read_bytes()))
    for q in outcome(lambda: load_questions("medquad", str(tmp_path / "f")).questions):
        if q.question in ASKED and "answer " in q.reference:
            number = q.reference.rpartition("answer ")[2]
            others = {str(i) for i in range(N)} - {str(ASKED.index(q.question))}
            # One digit may have been changed for another; what must not be is another document's answer.
            assert number not in others or path.stem == f"{ASKED.index(q.question):07}"


@seed(0)
@MANY
@given(data=st.data())
def test_zip(tmp_path: Path, data: st.DataObject) -> None:
    """An archive is no data file, broken or not, and none of what is in it is taken."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1_Own_QA/0000001.xml", XML.format(i=1, q=ASKED[1], filler=FILLER))
    content = changed(data, whole.getvalue())
    for name in ("t.zip", "t.csv", "t.jsonl", "t.parquet"):
        (tmp_path / name).write_bytes(content)
        assert outcome(lambda name=name: load_questions("medquad", str(tmp_path / name)).questions) == []


GATE = Question(
    "g", "medquad", "gate", "g", "g", "Which drink helps most against vertigo?", reference="Black tea, they say."
)
KNOWN = [GATE, Question("t", "medquad", "train", "t", "t", ASKED[0], reference="Rest helps.")]
TALKS: list[dict[str, Any]] = [
    {
        "prompt": [{"role": "user", "content": q}],
        "chosen": [{"role": "user", "content": q}, {"role": "assistant", "content": f"good {i} {FILLER}"}],
        "rejected": [{"role": "assistant", "content": f"bad {i} {FILLER}"}],
        "chosen_score": 0.9,
        "rejected_score": 0.1,
        "question_id": None,
    }
    for i, q in enumerate([*ASKED, GATE.question, f"Question: {GATE.question}"])
]
FLAT = [
    {"prompt": t["prompt"][0]["content"], "chosen_score": 0.9} | {side: str(t[side]) for side in ("chosen", "rejected")}
    for t in TALKS
]


def imported(path: Path) -> None:
    def load() -> list[Any]:
        pairs = read_pairs(read_table(path, "FILE"))
        return list(zip(pairs, place(pairs, KNOWN), strict=True))

    for pair, (question, reason) in outcome(load):
        if reason:
            continue
        assert question.split == "train" and GATE.question not in pair.texts.asked
        assert not pair.texts.chosen.startswith(("[{", "bad")) and not pair.texts.rejected.startswith(("[{", "good"))
        assert all(value is None or -1 <= value <= 1 for value in pair.scores.values())
        if pair.texts.question in ASKED:
            number = str(ASKED.index(pair.texts.question))
            for text in (pair.texts.chosen, pair.texts.rejected):
                word, _, rest = text.partition(" ")
                assert word not in ("good", "bad") or rest.partition(" ")[0] == number or rest[:1] not in "01234567"


@pytest.mark.parametrize("name", ["f.jsonl", "f.json", "f.csv", "f.parquet"])
@seed(0)
@MANY
@given(data=st.data())
def test_preferences(tmp_path: Path, name: str, data: st.DataObject) -> None:
    if name in ("f.jsonl", "f.json"):
        broken = retyped(data, TALKS)
        content = jsonl(broken) if name == "f.jsonl" else json.dumps(broken).encode()
    else:
        content = comma_separated(FLAT) if name == "f.csv" else parquet(TALKS)
    path = tmp_path / name
    path.write_bytes(content if name in ("f.jsonl",) else changed(data, content))
    imported(path)
