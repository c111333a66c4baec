"""`serve` as a client has it: the champion behind a real `transformers serve`, asked with the `openai` client over
loopback.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rlaif.prompts import load_prompt
from rlaif.records import load_questions
from rlaif.run import open_run
from rlaif.share.serve import check_key, check_port
from rlaif.types import RlaifError, UsageError

ROOT = Path(__file__).parents[1]
PROMPT = load_prompt("prompts/policy/answer.md")
READY_SECONDS = 600  # a few where nothing else runs


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlaif.share import serve

    monkeypatch.setattr(serve, "NEEDED", ("fastapi", "no_such_module"))
    with pytest.raises(
        RlaifError, match=r"serve needs no_such_module\S*; install the extra: pip install .*\[serving\]"
    ) as caught:
        serve.serve(tmp_path, "champion", "127.0.0.1", 8000)
    assert caught.value.exit_code == 1


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1 port {port} "):
            check_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_host_that_others_reach_needs_a_key(host: str) -> None:
    with pytest.raises(UsageError, match="can be reached from other machines: set RLAIF_SERVE_KEY"):
        check_key(host, "")
    check_key(host, "0123456789abcdef")


def test_loopback_needs_none_and_a_key_has_to_be_one() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_key(host, "")
    for key in ("short", "with a blank in it", "ключ ключ ключ ключ"):
        with pytest.raises(UsageError, match="RLAIF_SERVE_KEY has to be 16 or more"):
            check_key("127.0.0.1", key)


@dataclass(frozen=True)
class Served:
    run: Path
    url: str


def heed() -> None:
    """In the child: Ctrl-C counts, even where the tests run in a shell's background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def served(small_run: Path) -> Iterator[Served]:
    for module in ("fastapi", "uvicorn"):
        pytest.importorskip(module, reason="needs the extra serving")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = small_run.parent / "serve.log"
    command = [sys.executable, "cli.py", "serve", "--run", str(small_run), "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=heed
        )
    deadline = time.monotonic() + READY_SECONDS
    while "Ctrl-C stops the server" not in log.read_text("utf-8"):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text("utf-8")[-3000:]
        time.sleep(0.3)
    said = log.read_text("utf-8")
    assert said.startswith(("sft policy ", "\nsft policy ")), f"no library speaks before the address:\n{said}"
    assert "Uvicorn running" in (small_run / "served" / f"server-{port}.log").read_text("utf-8"), "it is kept there"
    yield Served(small_run, f"http://127.0.0.1:{port}/v1")
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: to the whole group
    assert process.wait(60) == 0, log.read_text("utf-8")[-3000:]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server is gone too"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_openai_client_gets_what_our_own_sampling_gives(served: Served) -> None:
    import openai

    from rlaif.models.base import load_base
    from rlaif.models.generate import sample
    from rlaif.policies import load_policy
    from rlaif.render import answer_prompt, conversation_prompt, messages

    run = open_run(served.run)
    base = load_base(run.config.model)
    questions = load_questions(run, "split = 'gate' AND label = ''", [])
    asked = [q for q in questions if q.context][:4] + [q for q in questions if not q.context][:4]
    prompts = [answer_prompt(base.tokenizer, PROMPT, q) for q in asked]
    model = load_policy(run, base, "champion")
    own = [sample(model, base.tokenizer, [p], max_new_tokens=64, seed=0, greedy=True)[0].text for p in prompts]

    client = openai.OpenAI(
        base_url=served.url, api_key="none", http_client=openai.DefaultHttpxClient(trust_env=False), timeout=300
    )

    def ask(turns: list[dict[str, str]]) -> str:
        answer = client.chat.completions.create(model=run.champion(), messages=turns, max_tokens=64)  # type: ignore[arg-type]
        return str(answer.choices[0].message.content)

    assert [ask(messages(PROMPT, q.question, q.context)) for q in asked] == own, (
        "all turns of the prompt sent by the client"
    )
    assert [ask([{"role": "user", "content": q.question}]) for q in asked[4:]] == own[4:], (
        "a question alone is put into the prompt's words"
    )
    assert len(set(own)) > 4

    pieces = client.chat.completions.create(
        model=run.champion(), messages=[{"role": "user", "content": asked[4].question}], max_tokens=64, stream=True
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == own[4], "streamed"
    turns = [("user", asked[4].question), ("assistant", own[4]), ("user", asked[5].question)]
    before = [(replace(asked[4], context=""), own[4])]
    several = conversation_prompt(base.tokenizer, PROMPT, before, replace(asked[5], context=""))
    answered = sample(model, base.tokenizer, [several], max_new_tokens=64, seed=0, greedy=True)[0].text
    assert ask([{"role": role, "content": text} for role, text in turns]) == answered, "a conversation"

    for stranger in ("another", "../policies", f"../served/{run.champion()}", "/etc", "Qwen/Qwen2.5-0.5B", ""):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=stranger, messages=[{"role": "user", "content": "x"}])
    listed = [model.id for model in client.models.list()]
    assert listed[:3] == ["champion", "sft", "base"] and run.champion() in listed

    def say(model: str) -> str:
        turns = messages(PROMPT, asked[4].question, asked[4].context)
        answer = client.chat.completions.create(model=model, messages=turns, max_tokens=64)  # type: ignore[arg-type]
        return str(answer.choices[0].message.content)

    plain = sample(
        load_policy(run, base, "base"), base.tokenizer, [prompts[4]], max_new_tokens=64, seed=0, greedy=True
    )[0].text
    assert say("champion") == say("sft") == own[4] and say("base") == plain != own[4]


@pytest.mark.slow
def test_the_merged_folder_is_kept_until_the_policy_or_the_prompt_changes(small_run: Path) -> None:
    from rlaif.share.serve import MERGED, merged_folder

    run = open_run(small_run)
    folder = merged_folder(run, "base")
    first = (folder / "model.safetensors").stat()
    assert merged_folder(run, "base") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == first.st_mtime_ns, "reused"
    (folder / MERGED).write_text('{"policy_sha256": "other"}')
    assert merged_folder(run, "base") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns != first.st_mtime_ns, "made anew"
    assert not list(folder.parent.glob(".*")), "nothing half done is left"
