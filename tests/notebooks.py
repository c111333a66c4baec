"""Runs a notebook of `examples/` in a real kernel: shared by tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def ran(path: Path, folder: Path, **environment: str) -> list[Any]:
    """The code cells of a notebook that ran in `folder`, without an error. It imports this checkout."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from jupyter_client import KernelManager
    from jupyter_client.kernelspec import KernelSpec

    manager = KernelManager()
    manager._kernel_spec = KernelSpec(  # this interpreter, whatever kernels the machine has installed
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], display_name="", language="python"
    )
    places = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, km=manager, timeout=900, resources={"metadata": {"path": str(folder)}}, shutdown_kernel="immediate"
    )
    client.execute(env=os.environ | {"PYTHONPATH": places} | environment)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cells: list[Any], kind: str) -> list[str]:
    """What the cells displayed as `kind`, a MIME type."""
    return [output.data[kind] for c in cells for output in c.outputs if kind in output.get("data", {})]


def printed(cells: list[Any]) -> str:
    return "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")
