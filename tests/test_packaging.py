"""What an installed rlaif needs is packaged, and what is pinned fits what is asked for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
TOP = sorted({name.partition(".")[0] for name in SETUPTOOLS["packages"]})
EXTRAS = PROJECT["project"]["optional-dependencies"]
REQUIREMENTS = list(
    dict.fromkeys([*PROJECT["project"]["dependencies"], *(wanted for extra in EXTRAS.values() for wanted in extra)])
)
PINS = [
    line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
]


def test_every_package_is_listed() -> None:
    code = {".".join(p.parent.relative_to(ROOT).parts) for top in TOP for p in (ROOT / top).rglob("*.py")}
    assert code <= set(SETUPTOOLS["packages"])


def test_every_data_file_is_packaged() -> None:
    shipped = {
        path
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    here = {p for top in TOP for p in (ROOT / top).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert here, "no data files at all: the test looks in the wrong place"
    assert not {str(p.relative_to(ROOT)) for p in here - shipped}


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_the_pin_of_a_requirement_is_within_its_range(requirement: str) -> None:
    wanted = Requirement(requirement)
    pins = {canonicalize_name(name): version for name, _, version in (pin.partition("==") for pin in PINS)}
    assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)])


def test_pins_are_exact_sorted_and_of_public_versions() -> None:
    assert [pin for pin in PINS if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin)] == []
    assert len({pin.partition("==")[0] for pin in PINS}) == len(PINS)
    assert sorted(PINS, key=lambda pin: pin.partition("==")[0]) == PINS
