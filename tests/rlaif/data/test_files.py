"""What public files of each format look like beside the plain one: read as what they are, or refused in one line."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.data import load_questions
from rlaif.data.files import written
from rlaif.data.tables import existing, file_sha256, read_table
from rlaif.types import DataError

KEY = "data.medquad"
ROWS = [{"question": "What helps?", "answer": "Rest; or tea, hot"}, {"question": "What else?", "answer": "Zinc"}]


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        'question,answer\nWhat helps?,"Rest; or tea, hot"\nWhat else?,Zinc\n',
        'question;answer\nWhat helps?;"Rest; or tea, hot"\nWhat else?;Zinc\n',
        "question\tanswer\nWhat helps?\tRest; or tea, hot\nWhat else?\tZinc\n",
        "question|answer\nWhat helps?|Rest; or tea, hot\nWhat else?|Zinc\n",
        'sep=;\nquestion;answer\nWhat helps?;"Rest; or tea, hot"\nWhat else?;Zinc\n',
        '\ufeff"sep=,"\r\nquestion,answer\r\nWhat helps?,"Rest; or tea, hot"\r\nWhat else?,Zinc\r\n',
        'question,answer,,\nWhat helps?,"Rest; or tea, hot",,\n,,,\nWhat else?,Zinc,,\n,,,\n',
        'question,answer\nWhat helps?,"Rest; or tea, hot",,\nWhat else?,Zinc\n,\n',
        '\n,,\nquestion,answer\nWhat helps?,"Rest; or tea, hot"\n\nWhat else?,Zinc\n',
        ',question,answer\n0,What helps?,"Rest; or tea, hot"\n1,What else?,Zinc\n',
        'question,answer\rWhat helps?,"Rest; or tea, hot"\rWhat else?,Zinc\r',
    ],
)
def test_csv_as_programs_save_it(tmp_path: Path, content: str) -> None:
    assert read_table(write(tmp_path, "t.csv", content), KEY).rows == ROWS


def test_a_tab_separated_file_by_its_own_name(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.tsv", "question\tanswer\na\tb\n"), KEY).rows == [
        {"question": "a", "answer": "b"}
    ]


def test_a_cell_of_any_length(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    cell = "Fatigue is common. " * 20_000
    (row,) = read_table(write(tmp_path, "t.csv", f'question,answer\nWhat?,"{cell}"\n'), KEY).rows
    assert row["answer"] == cell
    assert csv.field_size_limit() == before, "the limit is the whole process's"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("question,answer,\nWhat?,Rest, or tea\n", " line 2: 3 fields; the header has 2"),
        ("question,,answer\nWhat?,lost,Rest\n", " line 2: 'lost' stands in a column without a name"),
        ("sep=;\nquestion;answer\nWhat?;Rest;tea\n", " line 3: 3 fields; the header has 2 (question, answer)"),
        ("question;answer\nWhat?;Rest;tea\n", " line 2: 3 fields; the header has 2 (question, answer)"),
        ("question,answer\nWhat?,Rest\0\n", " line 2: holds a zero byte"),
        (b"\xff\xfeq\0,\0a\0\n\0", " line 1: not UTF-8: byte 0xff"),
        ("a,b\n,\n,\n", "holds no rows"),
    ],
)
def test_csv_that_would_lose_something(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path, "t.csv", content)
    with pytest.raises(DataError) as caught:
        read_table(path, KEY)
    assert str(caught.value).startswith(f"{path}") and message in str(caught.value)


def test_lines_are_told_below_what_is_skipped(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", 'sep=;\n\nq;a\n1;"x\ny"\n;;\n2;z\n'), KEY)
    assert [table.where(i).rpartition(" ")[2] for i in (0, 1)] == ["4", "7"]


LINES = '{"a": "1"}\n{"a": "2"}\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", LINES),
        ("t.json", "\n" + LINES.replace("\n", "\r\n\r\n")),
        ("t.jsonl", '[{"a": "1"},\n {"a": "2"}]'),
        ("t.jsonl", '[{"a": "1"}, {"a": "2"}]\n'),
        ("t.json", '[{"a": "1"}, {"a": "2"}]'),
    ],
)
def test_json_and_json_lines_are_told_by_what_is_in_them(tmp_path: Path, name: str, content: str) -> None:
    assert read_table(write(tmp_path, name, content), KEY).rows == [{"a": "1"}, {"a": "2"}]


def test_json_lines_by_another_name_keep_their_lines(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.json", "\n" + LINES), KEY).where(1).endswith("t.json line 3")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", '{"a": 1}\n{"a": 1, "b": 2, "a": 3}\n', "line 2: key 'a' stands twice in one object"),
        ("t.jsonl", '{"a": {"x": 1, "x": 2}}\n', "line 1: key 'x' stands twice"),
        ("t.json", '{"a": 1}\n{"b": 1, "b": 2}\n', "line 2: key 'b' stands twice"),
        ("t.json", '{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("t.json", '[{"a": 1}] x', "line 1: not JSON: Extra data"),
        ("t.json", '{"a": 1}', "a file with one object a line is JSON Lines, .jsonl"),
        ("t.jsonl", '{"a": Infinity}', "line 1: not JSON: Infinity is no number"),
        ("t.jsonl", '{"a": ' + "[" * 100_000, "line 1: not JSON"),
        ("t.jsonl", '{"a": ' + "9" * 5000 + "}", "line 1: not JSON that can be read"),
        ("t.jsonl", '{"a": "\\ud800"}', "line 1: not Unicode"),
        ("t.zip", "PK", "is a zip archive; unpack it"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=r"t\.") as caught:
        read_table(write(tmp_path, name, content), KEY)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_nan_is_an_empty_cell(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.jsonl", '{"a": NaN, "b": "x"}\n'), KEY)
    assert table.rows == [{"a": None, "b": "x"}]
    pq.write_table(pa.table({"a": [float("nan")]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", KEY).text(0, "a", optional=True) == ""


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**60], pa.timestamp("us")),
        pa.array([-(2**60)], pa.timestamp("ms")),
        pa.array([2**30], pa.date32()),
        pa.array([0], pa.timestamp("us", tz="Mars/Olympus")),
        pa.array([[2**60]], pa.list_(pa.timestamp("us"))),
    ],
)
def test_a_time_that_python_cannot_hold_is_told_by_its_column(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"question": ["q"], "seen": column}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: column 'seen' cannot be read .*; write it as text"):
        read_table(tmp_path / "t.parquet", KEY)


def test_times_that_python_holds_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"seen": pa.array([0], pa.timestamp("us", tz="UTC"))}), tmp_path / "t.parquet")
    (row,) = read_table(tmp_path / "t.parquet", KEY).rows
    assert row["seen"] == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def test_a_parquet_page_that_changed_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["yes yes yes"] * 3}), path, write_page_checksum=True, compression="none")
    path.write_bytes(path.read_bytes().replace(b"yes yes yes", b"yes yes yet", 1))
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_table(path, KEY)


@pytest.mark.parametrize("name", ["p.xml", "p.csv", "p.json", "p.jsonl", "p.parquet", "test_ground_truth.json"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    words = "neither a file nor a folder|no plain file"
    with pytest.raises(DataError, match=words):
        existing(tmp_path / name)
    with pytest.raises(DataError, match=words):
        load_questions("pubmedqa", str(tmp_path / name))
    if name == "p.xml":
        with pytest.raises(DataError, match=r"p\.xml: is no plain file"):
            load_questions("medquad", str(tmp_path))
        with pytest.raises(DataError, match=r"p\.xml: is no plain file"):
            file_sha256(tmp_path)


def test_a_pipe_beside_the_data_is_not_waited_for(tmp_path: Path) -> None:
    path = write(tmp_path, "ori_pqal.json", '{"1": {}}')
    os.mkfifo(tmp_path / "test_ground_truth.json")
    with pytest.raises(DataError, match=r"test_ground_truth\.json: is no plain file"):
        load_questions("pubmedqa", str(path))


@pytest.mark.parametrize("source", ["x" * 5000 + ".csv", "~nobody-at-all/t.csv", "a\0b.csv"])
def test_a_name_that_no_disk_has(source: str) -> None:
    with pytest.raises(DataError):
        read_table(source, KEY)


@pytest.mark.parametrize("text", ["['a', 'b']", '["a", "b"]', "('a', 'b')", "['a',\n 'b']"])
def test_written_lists(text: str) -> None:
    assert list(written(text)) == ["a", "b"]


@pytest.mark.parametrize("text", ["['a' 'b']", "['a'\n 'b']", "[a, b]", "['a', ", "[" * 5000, "['a'] ['b']", "\0"])
def test_written_lists_that_would_be_read_as_something_else(text: str) -> None:
    with pytest.raises(ValueError):
        written(text)


@pytest.mark.parametrize(
    "text", [r'["a \ud800"]', r"['a \udfff']", r'{"role": "user", "content": "\udc00"}', r'[{"a\ud800": 1}]']
)
def test_half_a_character_in_a_written_list_is_no_text(text: str) -> None:
    with pytest.raises(ValueError):
        written(text)
    assert written(r'["\ud83d\ude00"]') == ["\U0001f600"], "both halves are one"
