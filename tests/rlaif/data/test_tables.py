"""Every way a file can be bad, with the words a person reads."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.data.files import read_json
from rlaif.data.tables import file_sha256, is_hub_id, read_plugin, read_table
from rlaif.types import DataError, RlaifError

KEY = "data.medquad"


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(source):
    with pytest.raises(DataError) as caught:
        read_table(source, KEY)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_reads_the_same_rows_from_every_format(tmp_path):
    rows = [{"a": "1, é\u2028", "b": 'x "y"\nz'}, {"a": "2", "b": "w"}]
    parquet = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    csv = write(tmp_path, "t.csv", '\ufeffa,b\n"1, é\u2028","x ""y""\nz"\n2,w\n')
    jsonl = write(tmp_path, "t.jsonl", '{"a": "1, é\u2028", "b": "x \\"y\\"\\nz"}\n\n{"a": "2", "b": "w"}\n')
    json_ = write(tmp_path, "t.json", '[{"a": "1, é\u2028", "b": "x \\"y\\"\\nz"}, {"a": "2", "b": "w"}]')
    assert [read_table(p, KEY).rows for p in (parquet, csv, jsonl, json_)] == [rows] * 4
    assert read_table(csv, KEY).where(1) == f"{csv} line 4"
    assert read_table(jsonl, KEY).where(1) == f"{jsonl} line 3"
    assert read_table(parquet, KEY).where(1) == f"{parquet} row 2"


def test_column_names_are_folded(tmp_path):
    table = read_table(write(tmp_path, "t.csv", "Question, ANSWER\nq,a\n"), KEY)
    assert table.rows == [{"question": "q", "answer": "a"}] and table.columns == ("question", "answer")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.csv", "", "is empty (0 bytes)"),
        ("e.parquet", "", "is empty (0 bytes)"),
        ("e.jsonl", " \n\n", "is empty (3 bytes, all blank)"),
        ("e.csv", "a,b\n", "holds no rows"),
        ("e.json", "[]", "holds no rows"),
        ("b.parquet", "PAR1 not at all", "not a readable Parquet file: "),
        ("b.csv", "a,b\n1,2\n3,4,5\n", " line 3: 3 fields; the header has 2 (a, b)"),
        ("b.csv", 'a,b\n1,"two\nlines"\n3\n', " line 4: 1 fields; the header has 2 (a, b)"),
        (
            "b.csv",
            'a,b\n1,2\n3,"never closed\n\n',
            " line 3: broken CSV in the row that starts here: unexpected end of data",
        ),
        ("b.csv", "a,A\n1,2\n", " line 1: a column name stands more than once: a, A"),
        ("b.jsonl", '{"a": 1}\n{"a": \n', " line 2: not JSON: Expecting value at column "),
        ("b.jsonl", '{"a": 1}\n\n[1]\n', " line 3: list; needed one JSON object a line"),
        ("b.jsonl", '{"a": 1, "A": 2}\n', "column 'a' stands more than once (case does not count); found a, A"),
        ("b.json", '[{"a": 1},\n {"a" 2}]', " line 2 column 7: not JSON: "),
        ("b.json", '{"a": 1}', "dict at the top; needed a list of objects"),
        ("b.json", "[{}, 3]", " row 2: int; needed an object"),
        ("b.json", '[{"a": 1, "a": 2}]', "key 'a' stands twice in one object; keep one"),
        ("u.csv", b"a,b\n1,2\n\xe9,3\n", " line 3: not UTF-8: byte 0xe9 at offset 8; save the file as UTF-8"),
        ("u.jsonl", b'{"a": "ok"}\n{"a": "\xff"}\n', " line 2: not UTF-8: byte 0xff at offset 19; "),
        ("t.txt", "x", "unknown kind of file '.txt'; known are .parquet, .csv, .json, .jsonl"),
        ("noname", "x", "unknown kind of file '(no suffix)'"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    error = error_of(path)
    assert error.startswith(str(path)) and message in error


def test_truncated_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a readable Parquet file" in error_of(path)


def test_missing_file_and_folder(tmp_path):
    gone = tmp_path / "gone.csv"
    assert error_of(gone) == f"{gone}: no such file; give a .parquet, .csv, .json, .jsonl file or a hub id owner/name"
    assert "is a folder; give one file: --set data.medquad=FILE" in error_of(tmp_path)


def test_required_columns(tmp_path):
    table = read_table(write(tmp_path, "t.csv", "question,reply\nq,a\n"), KEY)
    with pytest.raises(DataError, match="column answer missing; found question, reply; needed question, answer. Look"):
        table.require("question", "answer", hint="Look")


def test_text_cells(tmp_path):
    table = read_table(write(tmp_path, "t.jsonl", '{"a": 5}\n{"a": null}\n{"a": " "}\n{"a": "x"}\n'), KEY)
    for i, found in enumerate(["int 5", "null", "empty"]):
        with pytest.raises(DataError, match=f"line {i + 1}: a is {found}; needed text"):
            table.text(i, "a")
    assert table.text(3, "a") == "x" and table.text(1, "a", optional=True) == ""
    with pytest.raises(DataError, match="line 1: a is int 5"):
        table.text(0, "a", optional=True)


def test_hub_ids_are_told_from_paths(tmp_path, monkeypatch):
    assert is_hub_id("qiaojin/PubMedQA")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write(tmp_path, "data/here", "x")
    for path in ("data/here", "data/gone.csv", "./a/b", "/a/b", "a/b/c", "name"):
        assert not is_hub_id(path), path


def test_hub_rows(monkeypatch):
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return [{"Question": "q"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert read_table("own/set", KEY, hub_config="c").rows == [{"question": "q"}]
    assert asked == [(("own/set", "c"), {"split": "train"})]


def test_hub_out_of_reach(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise ConnectionError("Couldn't reach it\nmore")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert error_of("own/set") == (
        "own/set: is no file here, and the hub cannot be reached or has no such data set (Couldn't reach it); "
        "give a local file instead: --set data.medquad=FILE"
    )


@pytest.mark.slow
def test_hub_offline_for_real(monkeypatch):
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert "give a local file instead: --set data.medquad=FILE" in error_of("nobody-here/no-such-set")


def test_file_sha256(tmp_path):
    path = write(tmp_path, "t.csv", "abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(DataError, match="no such file"):
        file_sha256(tmp_path / "gone")
    folder = tmp_path / "f"
    folder.mkdir()
    write(folder, "a.xml", "1")
    before = file_sha256(folder)
    write(folder, "note.txt", "no data")
    assert file_sha256(folder) == before
    write(folder, "a.xml", "2")
    assert file_sha256(folder) != before


def test_read_json_keeps_order(tmp_path):
    assert list(read_json(write(tmp_path, "t.json", '{"b": 1, "a": 2}'))) == ["b", "a"]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """reader(body) is the name of a function of a module of somebody else."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(body: str) -> str:
        (tmp_path / "aa_reader.py").write_text(f"def read(path):\n    {body}\n")
        sys.modules.pop("aa_reader", None)
        return "aa_reader:read"

    yield write
    sys.modules.pop("aa_reader", None)


def test_a_reader_of_somebody_else_gives_rows(reader: Callable[[str], str]) -> None:
    name = reader("for n in range(2): yield {'Question ': f'What is {n}?', 'answer': path}")
    table = read_plugin(name, "some where", "data.sets.0.format")
    assert table.columns == ("question", "answer") and table.where(1) == "some where row 2"
    assert table.rows[1] == {"question": "What is 1?", "answer": "some where"}


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("return []", DataError, "holds no rows"),
        ("return ['a']", DataError, "row 1, as aa_reader:read reads it: is 'a'; needed a mapping from column to value"),
        ("return [{1: 2}]", DataError, "row 1, as aa_reader:read reads it"),
        ("return None", RlaifError, "aa_reader:read raised TypeError"),
        ("return open(path)", RlaifError, "raised FileNotFoundError"),
        ("yield {'a': 1 / 0}", RlaifError, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_row_is_refused(
    reader: Callable[[str], str], body: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        read_plugin(reader(body), "nowhere", "data.sets.0.format")
    assert "\n" not in str(caught.value)
