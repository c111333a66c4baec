"""The configuration of a run: a TOML profile with `--set` overrides, checked against the models of `rlaif.config`; and
back to TOML.

    config = load_config("embedded", ["seed=3", "dpo.learning_rate=5e-4"])

Every mistake in a profile or an override is a UsageError of one line.
"""

from __future__ import annotations

import difflib
import json
import reprlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rlaif.config import SHARED_WITH_TRAIN, Config, DataSet, flat, plain
from rlaif.types import UsageError

# Not TOML, not UTF-8, a number of thousands of digits; brackets a thousand deep.
UNREADABLE = (ValueError, RecursionError)
PROFILES = Path(__file__).parent / "profiles"


def profile_names() -> list[str]:
    """Names of the profiles that ship with the project."""
    return sorted(p.stem for p in PROFILES.glob("*.toml"))


def load_config(
    profile: str = "embedded", overrides: list[str] | tuple[str, ...] = (), sets: Sequence[dict[str, Any]] = ()
) -> Config:
    """The profile (a name or a TOML path) with `sets` behind its `data.sets` and `key.sub=value` overrides applied.

    Raises UsageError with one line for an unknown profile or key (and suggests the nearest), a value of the wrong type,
    or broken TOML.
    """
    tree = read_profile(profile)
    if sets:
        data = tree.setdefault("data", {})
        if isinstance(data, dict):  # else validation will say so
            data["sets"] = [*data.get("sets", []), *sets]
    for text in overrides:
        apply_override(tree, text)
    agree(tree)
    return validate(tree, where=f"profile {profile}" + (" with --set" if overrides else ""))


def read_profile(profile: str) -> dict[str, Any]:
    path = Path(profile) if profile.endswith(".toml") or "/" in profile else PROFILES / f"{profile}.toml"
    if not path.is_file():
        if path.parent != PROFILES:
            raise UsageError(f"no profile file {profile}")
        names = profile_names()
        raise UsageError(
            f"unknown profile {profile!r}{nearest(profile, names)}; there are: {', '.join(names)}, or give a TOML path"
        )
    try:
        tree = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise UsageError(f"{path}: not a TOML file that can be read: {str(error):.200}") from error
    return {"profile": path.stem} | tree


def agree(tree: dict[str, Any]) -> None:
    """Where only one of two keys of SHARED_WITH_TRAIN is set, set the other to the same, so that `train` and the loop's
    SFT do the same.
    """
    for pair in SHARED_WITH_TRAIN.items():
        (one, key), (other, same) = (key.split(".") for key in pair)
        ours, theirs = tree.get(one, {}), tree.get(other, {})
        if not isinstance(ours, dict) or not isinstance(theirs, dict):
            return  # validation will say so
        if key in ours and same not in theirs:
            tree.setdefault(other, {})[same] = ours[key]
        elif same in theirs and key not in ours:
            tree.setdefault(one, {})[key] = theirs[same]


def nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def apply_override(tree: dict[str, Any], text: str) -> None:
    """Set `key.sub=value` in `tree`. The value is read as TOML; what is not TOML is a plain string."""
    key, sign, raw = text.partition("=")
    key, raw = key.strip(), raw.strip()
    if not sign or not key:
        raise UsageError(f"--set needs key.sub=value, got {text!r}")
    known = list(flat(Config()))
    if key.startswith("data.sets."):
        return override_set(tree, key, raw)
    if key not in known:
        raise UsageError(f"unknown key {key!r} in --set{nearest(key, known)}")
    value = toml_or_text(raw)
    *sections, leaf = key.split(".")
    node = tree
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise UsageError(
                f"{section} in the profile is not a table, so --set {key}=... has nowhere to go; write [{section}]"
            )
    if not isinstance(value, str) and isinstance(flat(Config())[key], str):
        value = raw  # a folder called 7 is still a name
    node[leaf] = value


def toml_or_text(raw: str) -> Any:
    try:
        return tomllib.loads(f"v = {raw}")["v"]
    except UNREADABLE:
        return raw


def override_set(tree: dict[str, Any], key: str, raw: str) -> None:
    """`data.sets.0.path=FILE`: one key of one entry of the profile's data.sets, counted from 0."""
    number, _, leaf = key.removeprefix("data.sets.").partition(".")
    data = tree.get("data", {})
    sets = data.get("sets", []) if isinstance(data, dict) else []
    if leaf not in DataSet.model_fields:
        raise UsageError(
            f"unknown key {key!r} in --set{nearest(leaf, list(DataSet.model_fields))}; write data.sets.NUMBER.KEY"
        )
    if (
        not number.isdecimal()
        or not isinstance(sets, list)
        or int(number) >= len(sets)
        or not isinstance(sets[int(number)], dict)
    ):
        there = f"has {len(sets)}, counted from 0" if isinstance(sets, list) else "is no list"
        raise UsageError(f"--set {key}: data.sets of the profile {there}")
    text = DataSet.model_fields[leaf].annotation is str
    sets[int(number)][leaf] = raw.strip("\"'") if text else toml_or_text(raw)


def validate(tree: dict[str, Any], where: str) -> Config:
    """Build a Config from `tree`; the first problem becomes one line."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error" and isinstance(first["input"], dict):  # of several keys, which it names
            raise UsageError(f"{where}: {first['ctx']['error']}") from None
        known = flat(Config())
        parts = [str(part) for part in first["loc"]]
        # For a key of several types pydantic adds which of them it tried.
        if not isinstance(known.get(".".join(parts[:-1]), []), list):
            parts = parts[:-1]
        key = ".".join(parts)
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{where}: unknown key {key!r}{nearest(key, list(known))}") from None
        problem = first["msg"].lower().replace("a valid tuple", 'a list, like ["a", "b"]')
        raise UsageError(f"{where}: {key} = {shown(first['input'])}: {problem}") from None


def shown(value: Any) -> str:
    """A value for an error's line, however long or deep it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 120
    return short.repr(value)


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML, one table a section, in the order of the models."""
    lines: list[str] = []

    def table(section: BaseModel, name: str) -> None:
        if name:
            lines.extend(["", f"[{name}]"])
        inner = []
        for field in type(section).model_fields:
            value = getattr(section, field)
            if isinstance(value, BaseModel):
                inner.append((value, f"{name}.{field}" if name else field))
            else:
                lines.append(f"{field} = {toml_value(plain(value))}")
        for value, inner_name in inner:
            table(value, inner_name)

    table(config, "")
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """JSON-ready `value` in TOML; objects as inline tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
