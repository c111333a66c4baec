"""Python rows to Arrow tables, whatever a model has written into their texts."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from rlaif.types import RlaifError

_ARROW = {
    "VARCHAR": pa.string(),
    "JSON": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
}


def to_arrow(table: str, types: Mapping[str, str], rows: Sequence[Any]) -> Iterator[pa.Table]:
    """The rows as Arrow tables, one for each set of columns that occurs (so that an absent column gets its default).

    `types` maps the columns of `table` to DuckDB's names of their types. A row is a mapping or a dataclass instance; a
    dataclass also gives those of its properties that are columns, and keeps back fields whose metadata say
    `column` False. Mappings in a text column, and everything in a JSON
    column, become JSON (a str there is JSON text already; NaN and infinity, which JSON lacks, become null). Numbers and
    paths in a text column become text. Times with a zone become UTC, times without one are UTC. Lone surrogates, which
    no UTF-8 text can hold, become U+FFFD.

    Raises RlaifError for an unknown column or a value that does not fit, naming table and column.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        values = _mapping(row, types)
        groups.setdefault(tuple(values), []).append(values)
    for columns, members in groups.items():
        unknown = [column for column in columns if column not in types]
        if unknown:
            raise RlaifError(f"table {table} has no column {unknown[0]!r}; it has {', '.join(types)}")
        yield pa.table(
            {column: _array(table, column, types[column], [row[column] for row in members]) for column in columns}
        )


def _mapping(row: Any, types: Mapping[str, str]) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if not dataclasses.is_dataclass(row) or isinstance(row, type):
        raise RlaifError(f"a row must be a mapping or a dataclass instance, not {type(row).__name__}")
    names = [field.name for field in dataclasses.fields(row) if field.metadata.get("column", True)]
    names += [name for name in types if name not in names and isinstance(getattr(type(row), name, None), property)]
    return {name: getattr(row, name) for name in names}


def _array(table: str, column: str, kind: str, values: list[Any]) -> pa.Array:
    try:
        convert = {"VARCHAR": _text, "JSON": _json, "VARCHAR[]": _texts, "TIMESTAMP": _utc}.get(kind)
        return pa.array([convert(value) for value in values] if convert else values, type=_ARROW[kind])
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise RlaifError(f"table {table}, column {column} ({kind}): {' '.join(str(error).split())}") from error


def _clean(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping):
        return _json(value)
    if isinstance(value, (int, float, PurePath)) and not isinstance(value, bool):
        return _clean(str(value))
    raise TypeError(f"text expected, got {type(value).__name__}")


def _texts(value: Any) -> list[str | None] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, (Sequence, set, frozenset)):
        raise TypeError(f"a list of texts expected, got {type(value).__name__}")
    # A set has no order of its own; the same rows must give the same database.
    return [_text(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]


def _json(value: Any) -> str | None:
    if value is None:
        return None
    plain = json.loads(value) if isinstance(value, str) else value
    return json.dumps(_plain(plain), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """`value` in what JSON knows."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping):
        return {_clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        return _clean(str(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    return value


def _utc(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise TypeError(f"a datetime expected, got {type(value).__name__}")
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
