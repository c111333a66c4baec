"""The notebooks in `examples/`: a person's own data, cell by cell in a real kernel. The tour is in test_loop.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from notebooks import EXAMPLES, printed, ran, shown


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_printed(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_own_data_end_to_end(tmp_path: Path) -> None:
    own = ran(EXAMPLES / "own_data.ipynb", tmp_path)
    text = printed(own)
    for said in ("192 questions", "question = question, answer = answer", "Round 1", "round 0, gate: ", "  score "):
        assert said in text
    assert any(f"round 1, gate: {action}" in text for action in ("PROMOTE", "REJECT", "INCONCLUSIVE"))
    pages = shown(own, "text/html")
    assert any("own_text" in page and "gate" in page for page in pages) and any("<svg" in page for page in pages)
    assert (tmp_path / "own_data" / "run" / "rlaif.duckdb").is_file()
