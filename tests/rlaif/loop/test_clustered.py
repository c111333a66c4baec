"""A round sampled by workers has the rows of one process, also where a machine is lost or the controller is killed."""

from __future__ import annotations

import dataclasses
import io
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from workers_here import Here

from rlaif.cluster.pool import Pool, Task
from rlaif.cluster.ray_backend import cluster
from rlaif.cluster.worker import Worker, wanted
from rlaif.loop.sample import sample_round
from rlaif.models.base import Base, load_base
from rlaif.policies import weights_of
from rlaif.prompts import load_prompt
from rlaif.records import load_questions
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import Candidate, RlaifError

PROMPT = load_prompt("prompts/policy/answer.md")
SFT = "5f70000000000000"
SMALL = {"k": 6, "max_new_tokens": 16, "batch_size": 2}
BATCHES = 18  # 15 of sampled answers, 3 of greedy ones
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_log_monitor": False}
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def base(trained_run: Run) -> Base:
    return load_base(trained_run.config.model)


def copied(trained_run: Run, tmp_path: Path, address: str = "") -> Run:
    folder = tmp_path / "run"
    run = open_run(folder if folder.exists() else Path(shutil.copytree(trained_run.folder, folder)))
    changed = {
        "sampling": run.config.sampling.model_copy(update=SMALL),
        "pairs": run.config.pairs.model_copy(update={"against": "greedy"}),
        "cluster": run.config.cluster.model_copy(update={"address": address}),
    }
    return dataclasses.replace(run, config=run.config.model_copy(update=changed))


def sampled(run: Run, base: Base, workers: Pool | None = None, said: io.StringIO | None = None) -> list[Candidate]:
    questions = load_questions(run, "split = 'train'", [])[:5]
    screen = Screen(Console(file=said or io.StringIO(), width=250))
    return sample_round(run, base, SFT, 2, questions, PROMPT, screen, workers)


@pytest.fixture(scope="module")
def undisturbed(trained_run: Run, base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Candidate]:
    """The round as this process makes it."""
    made = sampled(copied(trained_run, tmp_path_factory.mktemp("here")), base)
    assert len({c.batch for c in made}) == BATCHES
    return made


@pytest.mark.slow
def test_a_worker_makes_what_this_process_makes(
    trained_run: Run, base: Base, undisturbed: list[Candidate], tmp_path: Path
) -> None:
    run = copied(trained_run, tmp_path)
    pool = Pool(Here(wanted(base, run.config.model)), print)
    assert sampled(run, base, pool) == undisturbed
    assert "2 of 2 workers" in pool.note() and "tok/s each" in pool.note()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "has another base at .*embedded/base: sha256"),
        ({"settings": "0"}, "has other settings beside the base"),
        ({"dtype": "bfloat16"}, "computes in float32, and this one in bfloat16"),
        ({"versions": {"rlaif": "0", "torch": "1.0", "transformers": "1.0"}}, "torch .* instead of 1.0"),
    ],
)
def test_a_machine_that_would_make_something_else_is_refused(
    base: Base, trained_run: Run, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RlaifError, match=message) as caught:
        Worker().greet(dataclasses.replace(wanted(base, trained_run.config.model), **change))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_policy_that_a_machine_does_not_see_is_one_line(trained_run: Run, base: Base, tmp_path: Path) -> None:
    run = copied(trained_run, tmp_path)
    worker = Worker()
    worker.greet(wanted(base, run.config.model))
    assert worker.answers(weights_of(run, SFT), ["a"], {"thinking": 0, "max_new_tokens": 1, "seed": 0}).tokens == 1
    gone = dataclasses.replace(weights_of(run, SFT), adapter=tmp_path / "elsewhere")
    with pytest.raises(RlaifError, match="at the same path on each machine") as caught:
        worker.answers(gone, ["a"], {})
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """Two nodes of a real Ray cluster on this machine, with room for one worker each."""
    ray = pytest.importorskip("ray", reason='Ray is not installed: pip install ".[ray]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        machines = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False, "no_monitor": True})
        try:
            machines.add_node(**NODE)
            machines.wait_for_nodes()
            yield machines
        finally:
            ray.shutdown()
            machines.shutdown()


@pytest.mark.ray
@pytest.mark.slow
def test_a_machine_lost_in_the_middle_changes_no_row(
    trained_run: Run, base: Base, undisturbed: list[Candidate], tmp_path: Path, machines: Any
) -> None:
    run, said = copied(trained_run, tmp_path, machines.address), io.StringIO()
    third = machines.add_node(**NODE)
    write, lost = run.store.write, []

    def losing(tables: Any, **more: Any) -> None:
        write(tables, **more)
        if "candidates" in tables and not lost and pool.busy() == 3:
            machines.remove_node(third, allow_graceful=False)
            lost.append(third)

    run.store.write = losing  # type: ignore[method-assign]
    with cluster(run.config, base, lambda line: print(line, file=said)) as workers:
        assert workers
        pool = workers
        nothing = Task("answers", (weights_of(run, SFT), [], {"thinking": 0, "max_new_tokens": 1, "seed": 0}))
        while not workers.note().startswith("3 of 3"):  # all three are there before the work begins
            list(workers.spread(range(3), lambda number: nothing))
            time.sleep(0.1)
        made = sampled(run, base, workers)
        note = workers.note()
    assert lost and "is lost" in said.getvalue() and "others do its batches" in said.getvalue()
    assert "done again" in note
    assert made == undisturbed


CONTROLLER = """
import dataclasses, os, signal, sys
sys.path[:0] = [{root!r}, {root!r} + "/tests", {tests!r}]
from pathlib import Path
import test_clustered as t
from rlaif.cluster.ray_backend import cluster
from rlaif.models.base import load_base
run = t.copied(None, Path({folder!r}), {address!r})
write = run.store.write
def dying(tables, **more):
    write(tables, **more)
    if "candidates" in tables:
        os.kill(os.getpid(), signal.SIGKILL)
run.store.write = dying
base = load_base(run.config.model)
with cluster(run.config, base, print) as workers:
    t.sampled(run, base, workers)
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_controller_goes_on_where_it_stopped(
    trained_run: Run, base: Base, undisturbed: list[Candidate], tmp_path: Path, machines: Any
) -> None:
    run = copied(trained_run, tmp_path, machines.address)
    code = CONTROLLER.format(
        root=str(ROOT), tests=str(Path(__file__).parent), folder=str(tmp_path), address=machines.address
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    before = {row["batch"] for row in run.store.query("SELECT DISTINCT batch FROM candidates WHERE round = 2")}
    assert 0 < len(before) < BATCHES
    asked: list[int] = []
    with cluster(run.config, base, print) as workers:
        assert workers
        give = workers._backend.give
        workers._backend.give = lambda worker, task: (asked.append(task.arguments[2]["seed"]), give(worker, task))[1]  # type: ignore[method-assign]
        assert sampled(run, base, workers) == undisturbed
    assert len(asked) == BATCHES - len(before), "what is stored is not made again"
