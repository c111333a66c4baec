"""A real loop that starts from settings which suit nothing gets to enough pairs by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import call
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TINY = Path(__file__).parent / "tiny.toml"
BAD = {"pairs.min_best": 0.9, "sampling.max_new_tokens": 24, "sampling.k": 2}
# tiny.toml lets every pair through; these are the embedded profile's own
BARS = {"pairs.min_margin": 0.05, "pairs.max_length_ratio": 1.5, "pairs.max_rouge_l": 0.9}


def test_bad_settings_reach_a_yield_of_40_percent_within_four_rounds(tmp_path: Path, torch_threads: None) -> None:
    folder = tmp_path / "run"
    settings = [part for key, value in (BAD | BARS).items() for part in ("--set", f"{key}={value}")]
    code, _, err = call("loop", "--rounds", 4, "--run", folder, "--profile", TINY, *settings)
    assert code == 0, err
    store = Store.open(folder)
    yields = {r["round"]: r["pair_yield"] for r in store.query("SELECT * FROM round_summary WHERE round > 0")}
    assert yields[1] < 0.4 <= max(yields.values()), yields
    rows = store.query("SELECT * FROM decisions WHERE kind = 'controller' ORDER BY seq")
    made = [row | {"evidence": json.loads(row["evidence"])} for row in rows]
    change = made[0]["evidence"]["change"]
    assert change["because"] == "yield_low" and change["value"] == yields[1]
    assert made[0]["reason"].startswith("yield_low is red (") and f"{change['key']} " in made[0]["reason"]
    before: dict[str, object] = {}
    for decision in made:
        settings_now = decision["evidence"]["settings"]
        changed = {k for k in before.keys() | settings_now.keys() if before.get(k) != settings_now.get(k)}
        assert changed == ({decision["evidence"]["change"]["key"]} if changed else set()), "one thing per round"
        before = settings_now
