"""A whole loop on Ray ends with the rows of one in one process: sampled, judged and evaluated by workers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_resume import CLI, HERE, environment, rows

MORE = ["--set", "judge.model=local:embedded", "--set", "judge.require_licence=false"]


@pytest.fixture
def short() -> Iterator[Path]:
    """Where Ray keeps its sockets: the path of one may have 107 characters, fewer than those of `tmp_path` have."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def loop(folder: Path, short: Path, *more: str) -> str:
    command = [sys.executable, str(CLI), "loop", "--rounds", "1", "--run", str(folder)]
    command += ["--profile", str(HERE / "tiny.toml"), *MORE, *more]
    env = environment(folder) | {"RAY_TMPDIR": str(short)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ray" not in done.stdout.lower(), "Ray's own words stay away"
    return done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_a_loop_on_ray_ends_with_the_rows_of_one_process(tmp_path: Path, short: Path) -> None:
    pytest.importorskip("ray", reason='Ray is not installed: pip install ".[ray]"')
    loop(tmp_path / "here", short)
    said = loop(tmp_path / "ray", short, "--set", "cluster.address=local", "--set", "cluster.workers=2")
    for noise in ("Traceback", "Started a local Ray instance", "Token authentication", "Warning"):
        assert noise not in said
    here, there = rows(tmp_path / "here"), rows(tmp_path / "ray")
    del here["runs"], there["runs"]  # where it works stands in its configuration
    assert there == here
    assert list(short.iterdir()), "this Ray was here"
    until = time.monotonic() + 60
    while left := subprocess.run(["pgrep", "-f", str(short)], capture_output=True, text=True).stdout:
        assert time.monotonic() < until, f"processes are left behind: {left}"
        time.sleep(0.2)


def test_a_cluster_without_ray_is_one_line_and_makes_no_run(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv[0] = 'cli.py'; import rlaif.cluster.ray_backend as b; b.installed = lambda name: ''; "
        f"sys.path.insert(0, {str(CLI.parent)!r}); import cli; cli.main()"
    )
    command = [sys.executable, "-c", code, "loop", "--run", str(tmp_path / "run"), "--set", "cluster.address=local"]
    done = subprocess.run(command, env=environment(tmp_path / "run"), capture_output=True, text=True, cwd=CLI.parent)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    (line,) = [line for line in done.stderr.splitlines() if "Ray" in line]
    assert "pip install rlaif[ray]" in line and "Traceback" not in done.stderr
