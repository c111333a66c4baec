"""Code that is no part of rlaif, by name: a judge, a benchmark, a reader of files.

    judge.model = "my_judges:careful"    module:object
    judge.model = "careful"              an entry point, of the group `rlaif.judges`, of an installed distribution

Configurations and runs hold such names alone. Nothing is imported before :func:`load`, which the commands call that ask
a judge, evaluate or read data: a run from elsewhere can be looked at without running its author's code.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from rlaif.types import RlaifError, UsageError

Kind = Literal["judge", "benchmark", "reader"]
GROUPS: dict[Kind, str] = {"judge": "rlaif.judges", "benchmark": "rlaif.benchmarks", "reader": "rlaif.data"}
ARGUMENTS: dict[Kind, tuple[str, ...]] = {"judge": ("items",), "benchmark": ("question", "answer"), "reader": ("path",)}
TAKEN = ("cli", "judges", "prompts", "rlaif", "stores")  # top-level names of rlaif itself, which hide others
_WORD = r"[^\W\d]\w*"
_PATH = re.compile(rf"{_WORD}(?:\.{_WORD})*:{_WORD}")


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a name stands for. `path` is module:object, also where an entry point was named.

    `covers` is what is known to decide its results, JSON-ready: the hash of the source files, the version of the
    distribution, and what the object itself says in its attribute `identity`.
    """

    path: str
    code: Callable[..., Any]
    covers: Mapping[str, Any]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around a call of `code`: RlaifError, on one line, for whatever it raises."""
        try:
            yield
        except RlaifError:
            raise
        except Exception as error:
            raise RlaifError(f"{self.path} raised {told(error)}; mend it and run the same command again") from error


def is_path(name: str) -> bool:
    """Whether `name` is written as module:object."""
    return bool(_PATH.fullmatch(name))


def short_name(name: str) -> str:
    """The object's name of module:object; an entry point's name is short already."""
    return name.rpartition(":")[2]


def is_installed(kind: Kind, name: str) -> bool:
    """Whether `name` is an entry point of an installed distribution. Imports nothing."""
    return bool(entry_points(group=GROUPS[kind], name=name))


def load(kind: Kind, name: str, setting: str) -> Plugin:
    """Import what `name`, the value of `setting`, stands for.

    The current folder is looked into after everything that is installed. Raises UsageError, on one line: no such entry
    point, no such module, an error while it is imported, no such object, one that cannot be called as the `kind` is.
    """
    path = _path(kind, name, setting)
    module_name, _, attribute = path.partition(":")
    where = f"{setting} = {name!r}" + ("" if path == name else f" ({path})")
    if module_name.partition(".")[0] in TAKEN:
        raise UsageError(f"{where}: {module_name.partition('.')[0]} is a module of rlaif itself; rename yours")
    module = _imported(module_name, where, ", and no provider is called so" if kind == "judge" else "")
    code = getattr(module, attribute, None)
    if code is None:
        there = [
            n for n, found in vars(module).items() if inspect.isfunction(found) and found.__module__ == module_name
        ]
        raise UsageError(
            f"{where}: {module_name} has no {attribute!r}; its functions are: {', '.join(there) or 'none'}"
        )
    _check_call(kind, code, where)
    return Plugin(path, code, _covers(module, code, where))


def _path(kind: Kind, name: str, setting: str) -> str:
    if is_path(name):
        return name
    paths = sorted({f"{point.module}:{point.attr}" for point in entry_points(group=GROUPS[kind], name=name)})
    if len(paths) > 1:
        raise UsageError(f"{setting} = {name!r} is ambiguous; name one of {', '.join(paths)}")
    if not paths:
        known = ", ".join(sorted(entry_points(group=GROUPS[kind]).names)) or "none is installed"
        raise UsageError(
            f"{setting} = {name!r} names no {kind}: write module:object, or the name of an entry point of the group "
            f"{GROUPS[kind]} ({known})"
        )
    return paths[0]


def _imported(name: str, where: str, hint: str) -> ModuleType:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # last, so that a file here hides nothing that is installed
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            place = "it is neither installed nor in the current folder"
            raise UsageError(f"{where}: there is no module {error.name!r}: {place}{hint}") from error
        raise UsageError(f"{where}: {name} cannot be imported: {told(error)}") from error
    except (Exception, SystemExit) as error:  # it is foreign code, and may raise anything
        raise UsageError(f"{where}: {name} cannot be imported: {told(error)}") from error


def _check_call(kind: Kind, code: Any, where: str) -> None:
    wanted = f"a {kind} is a function ({', '.join(ARGUMENTS[kind])})"
    if inspect.isclass(code) or not callable(code):
        what = "a class" if inspect.isclass(code) else f"a {type(code).__name__}"
        raise UsageError(f"{where} is {what}; {wanted}, or an object that can be called like one")
    try:
        signature = inspect.signature(code)
        signature.bind(*ARGUMENTS[kind])
    except ValueError as error:  # of some functions in C
        raise UsageError(f"{where}: its arguments are not known; {wanted}") from error
    except TypeError as error:
        raise UsageError(f"{where} takes {signature}; {wanted}") from error


def _covers(module: ModuleType, code: Any, where: str) -> dict[str, Any]:
    """See :class:`Plugin`. Of a package all Python files count, of a module that is a file this one.

    A module that the object is defined in, and another one exports, counts too.
    """
    modules = [module, *filter(None, [sys.modules.get(getattr(code, "__module__", None) or "")])]
    tops = {m.__name__.partition(".")[0] for m in modules}
    hashes = sorted({_source_sha256(m) for m in modules} - {""})
    distributions = sorted({d for top in tops for d in packages_distributions().get(top, ())})
    if not hashes:
        raise UsageError(f"{where}: {module.__name__} has no file, so nothing is known of what would be run")
    own = getattr(code, "identity", {})
    try:
        own = json.loads(json.dumps(dict(own), sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: its attribute identity is no mapping that JSON can hold ({error})") from error
    return {
        "source_sha256": hashes,
        "distributions": [f"{name} {version(name)}" for name in distributions],
        "identity": own,
    }


def _source_sha256(module: ModuleType) -> str:
    """Over names and bytes of the Python files of the module's top-level package; of its own file where that is none;
    "" where it has no file.
    """
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    package = getattr(top, "__path__", None) and getattr(top, "__file__", None)
    file = getattr(module, "__file__", None)
    if not package and not file:
        return ""
    root = Path(package or file).parent  # type: ignore[arg-type]  # one of them is there
    files = sorted(root.rglob("*.py")) if package else [Path(file)]  # type: ignore[arg-type]  # there, as above
    digest = sha256()
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def told(error: BaseException) -> str:
    """An error of foreign code on one line, with the place where it was raised."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename} line {error.lineno}"
        text = error.msg
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place, text = f"{frame.filename} line {frame.lineno}", " ".join(str(error).split())
    return f"{type(error).__name__}: {text:.200} ({place})"
