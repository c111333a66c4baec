"""Fixtures that every test may use."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("no deadline")

pytest_plugins = ["rlaif.testing"]
NUMBERS = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test writes into the user's data folder, where the ledger of looks is: this one stands in for it."""
    folder = tmp_path_factory.mktemp("data-folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLAIF_DATA", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def own_data_folder(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an empty ledger."""
    monkeypatch.setenv("RLAIF_DATA", str(data_folder / str(next(NUMBERS))))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets and models: RLAIF_SHARED, else `shared` beside the repository. Skips without
    it.
    """
    folder = Path(os.environ.get("RLAIF_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set RLAIF_SHARED)")
    return folder


@pytest.fixture(scope="module")
def torch_threads() -> Iterator[None]:
    """A run sets the thread count of the whole process: give the other tests theirs back."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose champion is an adapter on the embedded base, trained for a few steps: for what needs a champion and
    no loop.
    """
    import torch

    from rlaif.admin import promote
    from rlaif.config_file import load_config
    from rlaif.models.base import load_base
    from rlaif.prepare import prepare
    from rlaif.prompts import load_prompt
    from rlaif.run import open_or_create
    from rlaif.screen import Screen
    from rlaif.train.stages import sft

    folder = tmp_path_factory.mktemp("small") / "run"
    threads = torch.get_num_threads()
    config = load_config(
        str(Path(__file__).parent / "tiny.toml"), ["data.sft_pubmedqa=1", "evaluation.max_new_tokens=64"]
    )
    run = open_or_create(folder, config)
    base, prompt, screen = load_base(config.model), load_prompt(config.prompts.policy), Screen()
    prepare(run, base, prompt, screen, None)
    promote(run, sft(run, base, prompt, screen), "for tests")
    torch.set_num_threads(threads)
    return folder
