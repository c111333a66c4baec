"""A file's bytes as rows of plain values, by format: CSV, JSON, JSON Lines, Parquet; and values written into a cell.

Every failure is one DataError line that names the file, the place in it, what was found and what is needed.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import tokenize
import warnings
from pathlib import Path
from typing import Any

from rlaif.types import DataError

Rows = tuple[list[dict[str, Any]], list[int] | None]  # with the line of each row, where the format has lines

EXCEL = " (in Excel: Save As, with the type CSV UTF-8)"
DELIMITERS = ",;\t|"  # tried in this order
# Excel's own first line, which names the delimiter; saved again it may have got empty cells.
_SEP = re.compile(r'"?sep=(.)"?[,;\t| ]*(?:\r\n|\n|\r)', re.IGNORECASE)


def read_bytes(path: Path) -> bytes:
    """DataError for what is no plain file (reading a pipe would wait for ever) or cannot be read."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: is no plain file that is there (a pipe, a device, a dead link); give a file")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def read_text(path: Path) -> str:
    """A file in UTF-8. DataError names the line of the first byte that is not."""
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line}: not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            f"save the file as UTF-8{EXCEL if path.suffix.lower() == '.csv' else ''}"
        ) from error
    if not text.strip():
        raise DataError(f"{path}: is empty ({len(data)} bytes, all blank)" if data else f"{path}: is empty (0 bytes)")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path} line {line}: holds a zero byte, so it is no text in UTF-8; save the file as UTF-8")
    return text


def read_json(path: Path) -> Any:
    """A whole JSON file; the list of its rows where it is JSON Lines under this name.

    Raises DataError when it is missing, not UTF-8, not JSON (line, column) or holds a key twice.
    """
    text = read_text(path)
    try:
        return _loads(text, str(path))
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or text.lstrip().startswith("["):
            raise DataError(f"{path} line {error.lineno} column {error.colno}: not JSON: {error.msg}") from error
    return _json_lines(path, text)[0]


def read_json_rows(path: Path) -> Rows:
    """The objects of a JSON list or of JSON Lines; the content decides, whatever the file is called."""
    text = read_text(path)
    lines = path.suffix.lower() == ".jsonl"
    if not lines or text.lstrip().startswith("["):
        try:
            return _objects(path, _loads(text, str(path))), None
        except json.JSONDecodeError as error:
            if not lines and error.msg != "Extra data":
                raise DataError(f"{path} line {error.lineno} column {error.colno}: not JSON: {error.msg}") from error
    return _json_lines(path, text)


def _json_lines(path: Path, text: str) -> Rows:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    # Not splitlines(): U+2028 and its like may stand unescaped inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = _loads(line, where)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: {type(row).__name__}; needed one JSON object a line")
        rows.append(row)
        lines.append(number)
    return rows, lines


def _loads(text: str, where: str) -> Any:
    """JSON without a key that stands twice, an infinite number or half a character; NaN, which pandas writes for an
    empty cell, is null. JSONDecodeError is left to the caller, who knows the line.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise DataError(f"{where}: key {key!r:.60} stands twice in one object; keep one")
            seen[key] = value
        return seen

    def constant(name: str) -> None:
        if name != "NaN":
            raise DataError(f"{where}: not JSON: {name} is no number")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
        # Half a surrogate pair: JSON can write one as \ud800, but no text in UTF-8 can hold it.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: not Unicode: {error.object[error.start]!a} is half a character; save the file as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets a thousand deep
        raise DataError(f"{where}: not JSON that can be read: {error}") from error
    return value


def _objects(path: Path, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        hint = "; a file with one object a line is JSON Lines, .jsonl" if isinstance(value, dict) else ""
        raise DataError(f"{path}: {type(value).__name__} at the top; needed a list of objects{hint}")
    for number, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path} row {number}: {type(row).__name__}; needed an object")
    return value


def read_csv(path: Path) -> Rows:
    """Rows of a file whose first row that is not blank names the columns.

    The delimiter is the one that Excel's line `sep=` names, else the first of DELIMITERS by which there are several
    columns and all rows fit. Blank rows are left out, and so are columns without a name: at the end they may hold
    nothing, and the first may be the row numbers that pandas writes. A cell may be of any length.
    """
    text = read_text(path)
    told = _SEP.match(text)
    body, before = (text[told.end() :], 1) if told else (text, 0)
    single: Rows | None = None
    broken: list[tuple[int, DataError]] = []
    limit = csv.field_size_limit(max(len(text), 1 << 17))
    try:
        for delimiter in told[1] if told else DELIMITERS:
            header: list[str] = []
            try:
                rows = _records(path, body, before, delimiter, header)
            except DataError as error:
                broken.append((len(header), error))
                continue
            if len(header) > 1:
                return rows
            single = single or rows
    finally:
        csv.field_size_limit(limit)
    if single is None or any(columns > 1 for columns, _ in broken):
        raise max(broken, key=lambda found: found[0])[1]
    return single


def _records(path: Path, text: str, before: int, delimiter: str, header: list[str]) -> Rows:
    """The rows by one delimiter; `header` is filled with the columns as soon as they are known, also before an error.
    `before` lines of the file stand above `text`.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    start = before + 1
    try:
        for values in reader:
            line, start = start, before + reader.line_num + 1
            if not any(value.strip() for value in values):
                continue
            if not header:
                header += values
                while header and not header[-1].strip():
                    header.pop()
                named = [name.strip().casefold() for name in header if name.strip()]
                if len(set(named)) < len(named):
                    raise DataError(f"{path} line {line}: a column name stands more than once: {', '.join(header)}")
                continue
            if len(values) < len(header) or any(value.strip() for value in values[len(header) :]):
                raise DataError(
                    f"{path} line {line}: {len(values)} fields; the header has {len(header)} ({', '.join(header)})"
                )
            for place, (name, value) in enumerate(zip(header, values, strict=False)):
                if place and not name.strip() and value.strip():
                    raise DataError(f"{path} line {line}: {value!r:.40} stands in a column without a name; name it")
            rows.append({name: value for name, value in zip(header, values, strict=False) if name.strip()})
            lines.append(line)
    except csv.Error as error:
        raise DataError(f"{path} line {start}: broken CSV in the row that starts here: {error}") from error
    return rows, lines


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file, its page checksums verified where it has some."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    reading = ""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        names = table.column_names
        columns = []
        # Column by column: Table.to_pylist is thirty times slower on 15,000 rows.
        for name, values in zip(names, table.columns, strict=True):
            reading = name
            columns.append(values.to_pylist())
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise DataError(f"{path}: a text in it is not UTF-8: {byte}; write the file with UTF-8 texts") from error
    # OverflowError, KeyError: a year beyond 9999 or a time zone that nobody knows, which Arrow holds and Python cannot
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError, TypeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if reading:
            raise DataError(
                f"{path}: column {reading!r} cannot be read ({reason:.200}); write it as text, or leave it out"
            ) from error
        raise DataError(f"{path}: not a readable Parquet file: {reason}") from error
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a column name stands more than once: {', '.join(names)}")
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def written(text: str) -> Any:
    """The value of a cell that holds JSON or a Python literal, as lists become in CSV.

    ValueError for anything else, also for numpy's "['a' 'b']", which Python would read as one text, and for half a
    surrogate pair ("\\ud800"), which no text in UTF-8 can hold.
    """
    value = _literal(text)
    json.dumps(value, ensure_ascii=False, skipkeys=True, default=repr).encode()  # UnicodeEncodeError is a ValueError
    return value


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline)]
        solid = [kind for kind in kinds if kind != tokenize.NL]
        if any(a == b == tokenize.STRING for a, b in zip(solid, solid[1:], strict=False)):
            raise ValueError("two texts without a comma between them")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a backslash before a letter is no escape; Python would say so on stderr
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"no list that can be read: {error}") from error
