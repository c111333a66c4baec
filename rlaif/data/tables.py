"""Reads any tabular source into rows: Parquet, CSV, JSON, JSONL, or a Hugging Face hub id.

Every failure is one DataError line that names the file, the place in it, what was found and what is needed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.types import DataError

SUFFIXES = (".parquet", ".csv", ".json", ".jsonl")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one source with lower-case column names. `lines` are the line numbers of the rows where the format has
    lines.
    """

    name: str
    rows: list[dict[str, Any]]
    columns: tuple[str, ...]
    lines: list[int] | None = None

    def where(self, index: int) -> str:
        """How a person finds row `index` (from 0): "FILE line 7" or "FILE row 3" (counted from 1, without the
        header).
        """
        return f"{self.name} line {self.lines[index]}" if self.lines else f"{self.name} row {index + 1}"

    def require(self, *columns: str, hint: str = "") -> None:
        """Raises DataError when one of `columns` is missing, saying which were found."""
        missing = [c for c in columns if c not in self.columns]
        if missing:
            raise DataError(
                f"{self.name}: column{'s' * (len(missing) > 1)} {', '.join(missing)} missing; "
                f"found {', '.join(self.columns) or 'none'}; needed {', '.join(columns)}{hint and '. ' + hint}"
            )

    def text(self, index: int, column: str, *, optional: bool = False) -> str:
        """The text in a cell. Optional cells may be null, absent or blank and are then "". Raises DataError on any
        other type.
        """
        value = self.rows[index].get(column)
        if isinstance(value, str) and (optional or value.strip()):
            return value
        if value is None and optional:
            return ""
        found = (
            "null" if value is None else "empty" if isinstance(value, str) else f"{type(value).__name__} {value!r:.60}"
        )
        raise DataError(f"{self.where(index)}: {column} is {found}; needed text")


def is_hub_id(source: str | Path) -> bool:
    """True for "owner/name" that is no path on this disk and carries no file suffix."""
    text = str(source)
    if not _HUB_ID.fullmatch(text) or text.lower().endswith((*SUFFIXES, ".xml", ".txt", ".tsv")):
        return False
    return not Path(text).exists()


def existing(source: str | Path) -> Path:
    """The source as a path. Raises DataError when there is nothing at it."""
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{source}: no such file; give a {', '.join(SUFFIXES)} file or a hub id owner/name")
    return path


def read_table(source: str | Path, key: str, *, hub_config: str | None = None) -> Table:
    """All rows of `source`. `key` is the setting that names it ("data.pubmedqa"; or "FILE", an argument), for the
    advice in errors; `hub_config` the configuration to ask the hub for (its split "train" is read). Column names are
    folded to lower case.

    Raises DataError: missing, empty, not UTF-8, broken, of an unknown kind, without rows, or a hub that cannot be
    reached.
    """
    if is_hub_id(source):
        return _table(str(source), _read_hub(str(source), key, hub_config))
    path = existing(source)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give one file{_setting(key)} ({', '.join(SUFFIXES)})")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty (0 bytes)")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _table(str(path), _read_parquet(path))
    if suffix == ".csv":
        return _table(str(path), *_read_csv(path))
    if suffix == ".jsonl":
        return _table(str(path), *_read_jsonl(path))
    if suffix == ".json":
        return _table(str(path), _objects(path, read_json(path)))
    raise DataError(f"{path}: unknown kind of file {suffix or '(no suffix)'!r}; known are {', '.join(SUFFIXES)}")


def read_json(path: Path) -> Any:
    """A whole JSON file. Raises DataError when it is missing, not UTF-8, not JSON (line, column) or holds a key
    twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise DataError(f"{path}: key {key!r} stands twice in one object; keep one")
            seen[key] = value
        return seen

    try:
        value = json.loads(_read_text(path), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno} column {error.colno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets a thousand deep
        raise DataError(f"{path}: not JSON that can be read: {error}") from error
    _check_texts(value, str(path))
    return value


def file_sha256(source: str | Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes; of a folder, over the relative names and bytes of its XML files in
    order.

    Raises DataError when there is nothing at `source`.
    """
    path = existing(source)
    digest = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    for file_path in sorted(path.rglob("*.xml")):
        digest.update(file_path.relative_to(path).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file_path.read_bytes()).digest())
    return digest.hexdigest()


def rows_sha256(rows: Sequence[Any]) -> str:
    """SHA-256 (64 hex digits) over the canonical JSON of rows, for sources that are no file."""
    text = json.dumps(list(rows), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _table(name: str, rows: list[dict[str, Any]], lines: list[int] | None = None) -> Table:
    if not rows:
        raise DataError(f"{name}: holds no rows")
    columns = list(dict.fromkeys(c for row in rows for c in row))
    folded = [c.strip().casefold() for c in columns]
    twice = sorted({c for c in folded if folded.count(c) > 1})
    if twice:
        raise DataError(
            f"{name}: column {twice[0]!r} stands more than once (case does not count); found {', '.join(columns)}"
        )
    if folded != columns:
        names = dict(zip(columns, folded, strict=True))
        rows = [{names[c]: value for c, value in row.items()} for row in rows]
    return Table(name, rows, tuple(folded), lines)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line}: not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "save the file as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{path}: is empty ({len(data)} bytes, all blank)" if data else f"{path}: is empty (0 bytes)")
    return text


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        # Column by column: Table.to_pylist is thirty times slower on 15,000 rows.
        columns = [column.to_pylist() for column in table.columns]
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise DataError(f"{path}: a text in it is not UTF-8: {byte}; write the file with UTF-8 texts") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from error
    names = table.column_names
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a column name stands more than once: {', '.join(names)}")
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _read_csv(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    start = 1
    try:
        header = next(reader)
        if len({name.strip().casefold() for name in header}) < len(header):
            raise DataError(f"{path} line 1: a column name stands more than once: {', '.join(header)}")
        start = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(header):
                raise DataError(
                    f"{path} line {start}: {len(values)} fields; the header has {len(header)} ({', '.join(header)})"
                )
            if values:
                rows.append(dict(zip(header, values, strict=True)))
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} line {start}: broken CSV in the row that starts here: {error}") from error
    return rows, lines


def _read_jsonl(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    # Not splitlines(): U+2028 and its like may stand unescaped inside a JSON string.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path} line {number}: not JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} line {number}: not JSON that can be read: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path} line {number}: {type(row).__name__}; needed one JSON object a line")
        _check_texts(row, f"{path} line {number}")
        rows.append(row)
        lines.append(number)
    return rows, lines


def _check_texts(value: Any, where: str) -> None:
    """DataError for half a surrogate pair: JSON can write one as \\ud800, but no text in UTF-8 can hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: not Unicode: {error.object[error.start]!a} is half a character; save the file as UTF-8"
        ) from error


def _objects(path: Path, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise DataError(f"{path}: {type(value).__name__} at the top; needed a list of objects")
    for number, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path} row {number}: {type(row).__name__}; needed an object")
    return value


def _setting(key: str) -> str:
    """How to give another source: by its setting, or, where `key` is no setting but an argument's name, in its
    place.
    """
    return f": --set {key}=FILE" if "." in key else ""


def _read_hub(name: str, key: str, config: str | None) -> list[dict[str, Any]]:
    from rlaif.quiet import quiet_logs

    try:
        with quiet_logs():  # the hub client tells of every retry
            from datasets import load_dataset

            return [dict(row) for row in load_dataset(name, config, split="train")]
    # The hub client raises errors of four libraries (datasets, huggingface_hub, httpx, the socket); all mean the same
    # here.
    except Exception as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{name}: is no file here, and the hub cannot be reached or has no such data set ({cause:.200}); "
            f"give a local file instead{_setting(key)}"
        ) from error
