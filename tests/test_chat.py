"""`chat` as a person has it: through a real pseudo-terminal, with the embedded base and an adapter on it; and
one-shot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlaif.records import load_questions
from rlaif.run import open_run
from rlaif.types import Question

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>][0-9A-B]?")
NOTICE = "Research software, not medical advice."


class Terminal:
    """A process on a pseudo-terminal of 120 columns. `read_until` returns the new text, colours and cursor movements
    left out.
    """

    def __init__(self, *command: str, cwd: Path = ROOT) -> None:
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell in the background hands down that it is ignored
            os.execvpe(sys.executable, [sys.executable, *command], environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        self.text, self.seen = "", 0

    def read_until(self, pattern: str, seconds: float = 120) -> str:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, new := ESCAPE.sub("", self.text[self.seen :]).replace("\r", "")):
            assert time.monotonic() < deadline, f"{pattern!r} did not come; the screen has:\n{self.text}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"{pattern!r} did not come before the end:\n{self.text}") from None
        self.seen = len(self.text)
        return new

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def exit_code(self, seconds: float = 60) -> int:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened = []

    def open_one(*command: str) -> Terminal:
        opened.append(Terminal(*command))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def known(small_run: Path) -> dict[str, Question]:
    """A question of each split that comes without a leaflet."""
    rows = load_questions(open_run(small_run), "label = '' AND context = ''", [])
    return {q.split: q for q in rows}


def test_a_session(terminal: Callable[..., Terminal], small_run: Path, known: dict[str, Question]) -> None:
    chat = terminal("cli.py", "chat", "--run", str(small_run))
    begin = chat.read_until(r"champion> $")
    assert NOTICE in begin and "/help" in begin

    chat.type(f"{known['gate'].question}\n")
    said = chat.read_until(r"champion> $")
    assert NOTICE in said and "(sft, round 0)" in said and re.search(r"\d+ tokens", said)

    chat.type(f"{known['gate'].question}\n")  # the second turn of a conversation
    again = chat.read_until(r"champion> $")
    chat.type("/new\n")
    assert "a new conversation" in chat.read_until(r"champion> $")
    chat.type(f"{known['gate'].question}\n")
    alone = chat.read_until(r"champion> $")
    first, second, third = (shown.replace("\n", "").partition("  champion ")[0] for shown in (said, again, alone))
    assert first == third != second, "asked alone the answer is the same, after another turn it is another"

    chat.type("/why\n")
    why = chat.read_until(r"champion> $")
    assert re.search(r"score [01]\.\d\d \(factual accuracy", why) and "'reference'" in why

    chat.type("/both\n")
    both = chat.read_until(r"champion> $")
    assert "(base)" in both and "(sft, round 0)" in both and re.search(r"\d+ tokens.* and \d+ tokens", both)
    chat.type("/why\n")
    assert chat.read_until(r"champion> $").count("factual accuracy") == 2

    chat.type("/policy\n")
    assert re.search(r"\* champion \w{8} \(sft", chat.read_until(r"champion> $"))
    chat.type("/policy base\n")
    chat.read_until(r"base> $")
    chat.type("What is love?\n")
    assert "(base)" in chat.read_until(r"base> $")
    chat.type("/why\n")
    assert "compares with a reference answer, and this is none of the known questions" in chat.read_until(
        r"base> $"
    ).replace("\n", "")

    chat.type(f"{known['sealed'].question}\n")
    chat.read_until(r"base> $")
    chat.type("/why\n")
    assert "sealed test" in chat.read_until(r"base> $")

    chat.type("/wy\n")
    assert "did you mean '/why'" in chat.read_until(r"base> $")
    chat.type("\x1b[A\x1b[A\n")  # two lines up: /why again
    assert "sealed test" in chat.read_until(r"base> $")
    chat.type("/cont\t")
    chat.read_until(r"/context$")
    chat.type(" Stye: a red lump.\n")
    assert "context: 4 words" in chat.read_until(r"base> $")
    chat.type("\x04")
    assert chat.exit_code() == 0


SLOW = """
import sys, time
import cli, rlaif.models.generate as streaming
real = streaming.stream
def slow(*args, **kwargs):
    for said in real(*args, **kwargs):
        time.sleep(0.5)
        yield said
streaming.stream = slow
sys.argv = ["cli.py", "chat", "--run", sys.argv[1]]
cli.main()
"""


def test_control_c_stops_an_answer_and_not_the_session(terminal: Callable[..., Terminal], small_run: Path) -> None:
    chat = terminal("-c", SLOW, str(small_run))  # half a second a token, so that there is time to press the keys
    chat.read_until(r"champion> $")
    chat.type("What are the symptoms of a cold?\n")
    chat.read_until(r"\?\n\w\w")  # the first letters of the answer
    chat.type("\x03")
    assert "stopped" in chat.read_until(r"champion> $")
    chat.type("/why\n")
    chat.read_until(r"champion> $")
    time.sleep(2)  # the prompt is drawn a moment before keys are read, and a busy machine makes that moment long
    chat.type("half a line\x03")
    chat.read_until(r"champion> $")
    chat.type("/both\n")
    chat.read_until(r"│ \w\w")
    chat.type("\x03")
    assert "stopped" in chat.read_until(r"champion> $")
    chat.type("/quit\n")
    assert chat.exit_code() == 0


def call(*arguments: object, cwd: Path = ROOT, typed: str | None = None) -> tuple[int, str, str]:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, input=typed, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_one_question_prints_the_answer_alone(small_run: Path) -> None:
    from rlaif.models.base import load_base
    from rlaif.models.generate import sample
    from rlaif.policies import load_policy
    from rlaif.prompts import load_prompt
    from rlaif.render import answer_prompt

    run = open_run(small_run)
    base = load_base(run.config.model)
    asked = load_questions(run, "label = '' AND context = '' AND split = 'gate'", [])
    prompts = [answer_prompt(base.tokenizer, load_prompt(run.config.prompts.policy), q) for q in asked]
    longest = run.config.evaluation.max_new_tokens
    said = {
        name: [
            sample(load_policy(run, base, name), base.tokenizer, [p], max_new_tokens=longest, seed=0, greedy=True)[
                0
            ].text
            for p in prompts
        ]
        for name in ("base", "champion")
    }
    both = list(zip(asked, said["base"], said["champion"], strict=True))
    question, by_base, by_champion = next((q.question, one, other) for q, one, other in both if one != other)
    code, out, err = call("chat", question, "--run", small_run)
    assert code == 0 and NOTICE in err and out == by_champion + "\n"
    code, out, _ = call("chat", question, "--run", small_run, "--policy", "base")
    assert code == 0 and out == by_base + "\n"


def test_without_a_run_the_embedded_base_answers_and_says_so(tmp_path: Path) -> None:
    code, out, err = call("chat", "What are the symptoms of a cold?", cwd=tmp_path)
    assert code == 0 and out.strip() and "embedded base (there is no run here)" in err
    code, out, _ = call("chat", cwd=tmp_path, typed="What are the symptoms of a cold?\n/both\n/policy\n")
    assert code == 0 and out.count("tokens,") == 2 and "the embedded base" in out


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    for arguments, message in (
        (["x", "--policy", "champion"], "no run here"),
        (["x", "--run", tmp_path / "none"], "is not a run folder"),
        (["x", "--context", "@none.txt"], "none.txt: cannot read the context"),
        ([" "], "the question is empty"),
        (["x", "--context", "word " * 2000], "reads at most 1,024"),
    ):
        code, out, err = call("chat", *arguments, cwd=tmp_path)
        assert code == 2 and out == "" and err.splitlines()[-1].startswith("error: ") and message in err, (
            arguments,
            err,
        )
