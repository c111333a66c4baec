"""Any tabular source as one table: Parquet, CSV, JSON, JSONL (see rlaif.data.files), a Hugging Face hub id, or what a
reader of somebody else finds.

Every failure is one DataError line that names the file, the place in it, what was found and what is needed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlaif.data.files import read_bytes, read_csv, read_json_rows, read_parquet
from rlaif.plugins import load
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
        if isinstance(value, float) and math.isnan(value):  # an empty cell, as pandas has it
            value = None
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
    return _kind(Path(text)) == "absent"


def existing(source: str | Path) -> Path:
    """The source as the path of a file or a folder. Raises DataError when there is nothing at it, or something else: a
    pipe would be waited for without end.
    """
    try:
        path = Path(source).expanduser()
    except RuntimeError as error:  # ~name of nobody
        raise DataError(f"{source}: {error}") from error
    kind = _kind(path)
    if kind == "absent":
        raise DataError(f"{source}: no such file; give a {', '.join(SUFFIXES)} file or a hub id owner/name")
    if kind == "other":
        raise DataError(f"{source}: is neither a file nor a folder (a pipe or a device); give a file")
    return path


def _kind(path: Path) -> Literal["file", "folder", "other", "absent"]:
    try:
        return "file" if path.is_file() else "folder" if path.is_dir() else "other" if path.exists() else "absent"
    except OSError:  # a name too long for the disk, or a folder that may not be looked into
        return "absent"


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
        return _table(str(path), read_parquet(path))
    if suffix in (".csv", ".tsv"):
        return _table(str(path), *read_csv(path))
    if suffix in (".json", ".jsonl"):
        return _table(str(path), *read_json_rows(path))
    if suffix == ".zip":
        raise DataError(f"{path}: is a zip archive; unpack it, then give the folder or the file in it")
    raise DataError(f"{path}: unknown kind of file {suffix or '(no suffix)'!r}; known are {', '.join(SUFFIXES)}")


def read_plugin(reader: str, path: str, setting: str) -> Table:
    """The rows that a function of somebody else finds at `path`, as a table: mappings from column to value.

        def read(path: str) -> Iterable[Mapping[str, Any]]: ...     # {"question": "What is gout?", "answer": "Pain."}

    `reader` is the value of `setting`. Raises UsageError as :func:`rlaif.plugins.load`, RlaifError for what the
    function raises, DataError for anything else than such rows, and where there are none.
    """
    plugin = load("reader", reader, setting)
    with plugin.running():
        rows: list[Any] = list(plugin.code(path))
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not all(isinstance(column, str) for column in row):
            raise DataError(
                f"{path} row {number}, as {plugin.path} reads it: is {row!r:.60}; needed a mapping from column to value"
            )
    return _table(path, [dict(row) for row in rows])


def file_sha256(source: str | Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes; of a folder, over the relative names and bytes of its XML files in
    order.

    Raises DataError when there is nothing at `source`.
    """
    path = existing(source)
    if path.is_file():
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    digest = hashlib.sha256()
    for file_path in xml_files(path):
        digest.update(file_path.relative_to(path).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        digest.update(hashlib.sha256(read_bytes(file_path)).digest())
    return digest.hexdigest()


def xml_files(folder: Path) -> list[Path]:
    """The XML files below a folder, by name. Folders so called, hidden files and __MACOSX, which a Mac's zip brings
    along, are none. DataError for what is no plain file.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
        if path.suffix.lower() != ".xml" or hidden or path.is_dir():
            continue
        if not path.is_file():
            raise DataError(f"{path}: is no plain file (a pipe, a device, a dead link); take it away")
        found.append(path)
    return found


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
    if folded != columns or any(len(row) < len(columns) for row in rows):  # a key that a row lacks is null there
        rows = [{new: row.get(old) for old, new in zip(columns, folded, strict=True)} for row in rows]
    return Table(name, rows, tuple(folded), lines)


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
