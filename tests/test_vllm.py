"""Loops against real vLLM servers, which RLAIF_VLLM (a Python that has vLLM) starts on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import call
from rlaif.embedded import BASE
from rlaif.models import vllm_client
from rlaif.run import Run, open_run

PYTHON = os.environ.get("RLAIF_VLLM", "")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not PYTHON, reason="RLAIF_VLLM names no Python that has vLLM (docs/scale.md)"),
]
TINY = Path(__file__).parent / "tiny.toml"
OPTIONS = """--served-model-name base --enable-lora --max-lora-rank 16 --logprobs-mode raw_logprobs --dtype bfloat16
    --generation-config vllm --enforce-eager --max-model-len 512 --host 127.0.0.1""".split()
FEW = ("questions=16", "k=3", "batch_size=6")
ANSWERS, BATCHES = 48, 8  # of a round: 16 questions x 3 answers, 6 at a time


@dataclass
class Served:
    """A server and the group of its processes."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def wait(self) -> None:
        for _ in range(1800):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/version", timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, self.log.read_text("utf-8")[-3000:]
                time.sleep(1)
        pytest.fail(f"the server does not answer after half an hour: {self.log.read_text('utf-8')[-3000:]}")

    def stop(self, how: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        self.process.wait(60)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Served]]:
    """Two of them, each in a process group of its own: a server has a process for its engine."""
    environment = os.environ | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1"}
    started: list[Served] = []
    try:
        for number in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            log = tmp_path_factory.mktemp("vllm") / f"log{number}"
            command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(BASE), "--port", str(port)]
            with log.open("w") as out:
                process = subprocess.Popen(
                    [*command, *OPTIONS], env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
                )
            started.append(Served(process, port, log))
        for server in started:
            server.wait()
        yield started
    finally:
        for server in started:
            server.stop(signal.SIGTERM)


def loop(folder: Path, rounds: int, *servers: Served) -> tuple[Run, str]:
    """The run after so many rounds, and what was said on the way."""
    settings = [f"sampling.{each}" for each in FEW]
    settings += ["sampling.engine=vllm", f"sampling.urls={json.dumps([server.url for server in servers])}"]
    overrides = [word for each in settings for word in ("--set", each)]
    code, _, err = call("loop", "--rounds", rounds, "--run", folder, "--profile", TINY, *overrides)
    assert code == 0, err
    return open_run(folder), err


def test_a_loop_of_two_rounds_samples_from_real_servers(
    servers: list[Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[tuple[list[int], vllm_client.Drawn]]] = defaultdict(list)  # by what was asked
    complete = vllm_client.complete

    async def kept(client: Any, server: Any, model: str, ids: list[int], **how: Any) -> list[vllm_client.Drawn]:
        made = await complete(client, server, model, ids, **how)
        drawn[model] += [(ids, one) for one in made]
        return made

    monkeypatch.setattr(vllm_client, "complete", kept)
    run, _ = loop(tmp_path / "run", 2, *servers)
    rows = run.store.query("SELECT round, policy_id, n_tokens, logprob, sampling FROM candidates")
    assert {row["round"] for row in rows} == {1, 2} and len(rows) == 2 * ANSWERS
    assert all(json.loads(row["sampling"])["engine"].startswith("vllm ") for row in rows)
    assert len(run.store.query("SELECT 1 FROM rounds WHERE decision IS NOT NULL")) == 3
    assert not (run.folder / "probe").exists()
    compared = [
        pair
        for policy_id in {row["policy_id"] for row in rows}
        for pair in off_by(run, policy_id, drawn[policy_id], [r for r in rows if r["policy_id"] == policy_id])
    ]
    assert len(compared) == len(rows)
    sums, lengths = np.abs([off for off, _ in compared]), np.array([length for _, length in compared])
    gaps = sums / lengths
    print(
        f"\n{len(rows)} answers of {lengths.mean():.0f} tokens; nats per token: mean {gaps.mean():.4f}, largest "
        f"{gaps.max():.4f}, within 0.01 {(gaps < 0.01).mean():.0%}; nats per answer: mean {sums.mean():.4f}, largest "
        f"{sums.max():.4f}, within 0.01 {(sums < 0.01).mean():.0%}"
    )
    # Both read the very same ids: the server in bfloat16, this process in float32.
    assert gaps.mean() < 0.005 and (gaps < 0.01).mean() > 0.95 and gaps.max() < 0.03


def off_by(
    run: Run, policy_id: str, drawn: list[tuple[list[int], vllm_client.Drawn]], rows: list[dict[str, Any]]
) -> list[tuple[float, int]]:
    """Of each candidate of a policy, its log-probability here less the recorded one, in nats, and its tokens. It is
    found by its record among what was drawn, so that what is read here are the ids that the server sampled.
    """
    from rlaif.models.logprobs import ids_logprobs
    from rlaif.policies import load_policy, run_base

    by_record = {(len(one.ids), sum(one.logprobs)): (ids, one.ids) for ids, one in drawn}
    found = [by_record[row["n_tokens"], row["logprob"]] for row in rows]
    here = ids_logprobs(load_policy(run, run_base(run), policy_id), found)
    return [(mine - row["logprob"], row["n_tokens"]) for mine, row in zip(here, rows, strict=True)]


def test_a_server_is_killed_in_the_middle_of_a_round(
    servers: list[Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of this file: it leaves one server."""
    from rlaif.models.vllm_pool import Pool

    spread, second = Pool.spread, servers[1]

    def deadly(pool: Pool, *asked: Any) -> Iterator[Any]:
        for made in spread(pool, *asked):
            second.stop(signal.SIGKILL)  # with batches of its own under way
            yield made

    monkeypatch.setattr(Pool, "spread", deadly)
    run, said = loop(tmp_path / "run", 1, *servers)
    assert f"{second.url} cannot be reached" in said and "its batches go to the others" in said
    stored = run.store.query(
        "SELECT batch, count(*) AS n, count(DISTINCT candidate_id) AS ids FROM candidates GROUP BY 1"
    )
    assert {row["batch"]: (row["n"], row["ids"]) for row in stored} == {number: (6, 6) for number in range(BATCHES)}
