"""The LangChain judge over a real `transformers serve` process with the shipped judge as its model: it has to write its
verdicts.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
for _module in ("fastapi", "uvicorn"):
    pytest.importorskip(_module, reason=f"`transformers serve` needs {_module}: install the extra `serving`")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

from scipy.stats import spearmanr  # noqa: E402

from judges import make_judge  # noqa: E402
from judges.local import load_local_judge  # noqa: E402
from judges.settings import JudgeSettings  # noqa: E402
from rlaif.embedded import JUDGE  # noqa: E402
from rlaif.exam.embedded import embedded_exam  # noqa: E402
from rlaif.prompts import load_judge_prompt  # noqa: E402
from rlaif.types import JudgeItem  # noqa: E402

PROMPT = load_judge_prompt("prompts/judge/tiny.md")
N = 200
READY_SECONDS = 600  # a few where nothing else runs


@pytest.fixture(scope="module")
def items() -> list[JudgeItem]:
    """Answers to gate questions: good ones, and spoiled in every way that the exam knows."""
    return random.Random(0).sample(embedded_exam(20).answers, N)


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("serve")
    command = [sys.executable, "-P", "-m", "transformers.cli.transformers", "serve", str(JUDGE)]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {
        "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }  # asks nobody outside
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        wait_until_ready(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # what is on this machine is asked without a proxy
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(
                f"transformers serve ended with {server.returncode}:\n{log.read_text('utf-8', 'replace')[-3000:]}"
            )
        try:
            with direct.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(
        f"transformers serve was not ready after {READY_SECONDS} s:\n{log.read_text('utf-8', 'replace')[-3000:]}"
    )


def test_what_the_judge_writes_can_be_read_and_agrees_with_its_logits(base_url: str, items: list[JudgeItem]) -> None:
    settings = JudgeSettings(PROMPT, base_url, max_new_tokens=64, concurrency=2, timeout=300.0)
    written = make_judge(f"openai:{JUDGE}", settings).score(items)
    reasons = Counter(v.reason[:100] for v in written if v.status != "scored")
    assert len(written) == N and sum(v.status == "scored" for v in written) >= 0.98 * N, reasons
    assert all((v.score is None) == (v.status != "scored") for v in written)
    assert all(v.tokens_in > 0 and v.tokens_out > 0 for v in written), "the server reports what it used"

    read = load_local_judge(str(JUDGE), PROMPT).score(items)
    # The local judge reads talk about an answer in several ways, and the lowest mark counts.
    pairs = [
        (w.score, r.score)
        for w, r in zip(written, read, strict=True)
        if w.score is not None and r.score is not None and "lowest of several readings" not in r.rationale
    ]
    assert len(pairs) >= 0.5 * N
    # Loose: one is the likeliest mark and sees the marks before it, the other the mean of a mark without them.
    assert spearmanr(*zip(*pairs, strict=True)).statistic > 0.8
