"""Runs as the report meets them, in a real database filled with small rows."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlaif.config import Config, flat
from rlaif.testing.run import (
    candidate,
    end_session,
    gate,
    policy,
    verdict,
    write_base,
    write_round_0,
    write_round_1,
)
from stores.store import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config(seed=7)
    tree = flat(config) | {"model.path": "/home/someone/models/tiny", "judge.base_url": "http://judge.internal:8000/v1"}
    row = {"run_id": "r1", "profile": "embedded", "config": tree, "config_hash": config.config_hash, "seed": 7}
    return Store.create(tmp_path_factory.mktemp("fresh"), row).path


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Store:
    """A run before anything happened."""
    folder = tmp_path / "my-run"
    folder.mkdir()
    return Store(Path(shutil.copy(empty_database, folder)))


@pytest.fixture(scope="session")
def finished_database(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """Made once and copied, because that is faster."""
    made = Store(Path(shutil.copy(empty_database, tmp_path_factory.mktemp("finished"))))
    write_round_1(made)
    end_session(made, 0)
    return made.path


@pytest.fixture
def finished(tmp_path: Path, finished_database: Path) -> Store:
    folder = tmp_path / "my-run"
    folder.mkdir()
    return Store(Path(shutil.copy(finished_database, folder)))


@pytest.fixture
def rows() -> SimpleNamespace:
    """The functions that write them, for tests that make a run of their own."""
    return SimpleNamespace(
        **{
            f.__name__: f
            for f in (policy, gate, candidate, verdict, write_base, write_round_0, write_round_1, end_session)
        }
    )
