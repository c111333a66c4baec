"""The identity of base and adapters in a run: more than their tensors."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from rlaif.config import Config, ModelConfig
from rlaif.embedded import BASE
from rlaif.models.settings import settings_of
from rlaif.policies import adapter_folder, adapter_of, base_row, check_base, load_policy, record_settings
from rlaif.prepare import prepare
from rlaif.prompts import load_prompt
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import RlaifError
from stores import migrations
from stores.store import Store

ALPHA = "adapter_config.json lora_alpha: 32, now 3200"


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.fixture
def run(trained_run: Run, tmp_path: Path) -> Run:
    """A copy of the trained run, for one test to change."""
    return open_run(Path(shutil.copytree(trained_run.folder, tmp_path / "run")))


def recorded(run: Run) -> dict[str, dict[str, str]]:
    rows = run.store.query("SELECT policy_id, settings FROM policies ORDER BY policy_id")
    return {row["policy_id"]: json.loads(row["settings"] or "{}") for row in rows}


@pytest.mark.slow
def test_a_base_whose_settings_changed_is_refused(run: Run, tmp_path: Path) -> None:
    from rlaif.models.base import load_base

    own = Path(shutil.copytree(BASE, tmp_path / "own"))
    base = load_base(ModelConfig(path=str(own), threads=1))
    check_base(run, base)
    template = own / "chat_template.jinja"
    words = template.read_text()
    template.write_text("{% set pirate = true %}" + words)
    with pytest.raises(RlaifError, match=r"chat_template.jinja: sha256 \w+, now sha256"):
        check_base(run, base)
    template.write_text(words)
    check_base(run, base)
    edit(own / "config.json", rope_parameters={"rope_theta": 1e6, "rope_type": "default"})
    with pytest.raises(RlaifError, match=r"config.json rope_parameters: .*10000.0.*, now .*1000000.0"):
        check_base(run, base)


@pytest.mark.slow
def test_the_embedded_base_keeps_its_id() -> None:
    from rlaif.models.base import load_base

    base = load_base(ModelConfig())
    row = base_row(base, Config())
    assert row["policy_id"].startswith("10756775") and row["settings"] == settings_of(BASE)


@pytest.mark.slow
def test_an_older_run_records_them_at_its_next_session_and_says_so(run: Run) -> None:
    from rlaif.models.base import load_base

    run.store.execute([("UPDATE policies SET settings = '{}'", [])])
    edit(run.policies / "5f70000000000000" / "adapter_config.json", lora_dropout=0.0)
    base, said = load_base(run.config.model), io.StringIO()
    prompt = load_prompt(run.config.prompts.policy)
    run.store.write({"stages": [{"round": 0, "stage": "prepare", "status": "done"}]})
    for _ in "ab":
        prepare(run, base, prompt, Screen(Console(file=said, width=200)), None)
    line = "settings               of 5f700000, base0 recorded as they are now; this run is older"
    assert said.getvalue().count(line) == 1
    assert recorded(run)["base0"] == settings_of(BASE)
    assert recorded(run)["5f70000000000000"]["adapter_config.json lora_alpha"] == "32"
    edit(run.policies / "5f70000000000000" / "adapter_config.json", lora_alpha=3200)
    with pytest.raises(RlaifError, match=ALPHA):
        load_policy(run, base, "5f70000000000000")


def test_an_adapter_whose_settings_changed_is_refused_by_every_door(paired_run: Run) -> None:
    folder = paired_run.policies / "5f70000000000000"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text('{"lora_alpha": 32}')
    paired_run.store.execute(
        [("UPDATE policies SET settings = ? WHERE policy_id = '5f70000000000000'", [json.dumps(settings_of(folder))])]
    )
    policy = paired_run.policy("5f70000000000000")
    assert adapter_folder(paired_run, policy) == folder
    edit(folder / "adapter_config.json", lora_alpha=3200)
    for door in (adapter_folder, adapter_of):
        with pytest.raises(RlaifError, match=ALPHA):
            door(paired_run, policy)


def test_a_database_of_the_version_before_opens_with_nothing_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrations.available()
    before = [m for m in known if m.name < "0009"]
    assert len(before) < len(known)
    monkeypatch.setattr(migrations, "available", lambda: before)
    store = Store.create(tmp_path / "run", {"run_id": "r", "profile": "p", "config": {}, "config_hash": "", "seed": 0})
    store.write({"policies": [{"policy_id": "base0", "kind": "base", "round": 0, "path": "embedded"}]})
    monkeypatch.setattr(migrations, "available", lambda: known)
    store = Store.open(tmp_path / "run")
    assert store.query("SELECT policy_id, settings FROM policies") == [{"policy_id": "base0", "settings": "{}"}]


def test_what_was_pruned_or_is_gone_records_nothing(paired_run: Run) -> None:
    base: Any = SimpleNamespace(path=BASE)
    assert [p["policy_id"] for p in record_settings(paired_run, base)] == ["base0"]
    assert record_settings(paired_run, base) == []
