"""The command `serve`: the policies of a run behind an OpenAI-compatible endpoint, by way of `transformers serve`.

That server answers adapters with an error, so a policy is written once as a plain model (dequantized base with the
adapter merged in) into the run, `served/<policy_id>`. The server runs as a child process on loopback, in that folder;
what can be reached is the gateway of `rlaif.share.gateway`.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.config import Config
from rlaif.policies import adapter_of, run_prompt
from rlaif.prompts import Prompt, fill
from rlaif.render import beginning, takes_system
from rlaif.run import Run, check_disk, open_run
from rlaif.screen import Screen
from rlaif.types import RlaifError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


NEEDED = ("fastapi", "uvicorn", "openai")  # what the server asks for beyond our own dependencies
MERGED = "served.json"  # says which weights a merged folder holds; written last
KEY = "RLAIF_SERVE_KEY"  # the environment variable with the key; it is kept nowhere
SHORTEST_KEY = 16  # characters
LOCAL = "127.0.0.1"  # where the child listens
READY_SECONDS = 600  # to load the model; a few for a small one


def serve(folder: Path, name: str, host: str, port: int) -> None:
    """Serve the run's policies until Ctrl-C or SIGTERM; policy `name` is loaded at once, the others when asked for.

    Raises UsageError for an unknown policy, a port that is taken, or a host that other machines reach without a key in
    the environment variable `RLAIF_SERVE_KEY`; RlaifError without the extra `serving`, for damaged weights, and when
    the server does not come up or ends by itself.
    """
    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        raise RlaifError(
            f'serve needs {", ".join(missing)}; install the extra: pip install -c constraints.txt ".[serving]"'
        )
    key = os.environ.get(KEY, "")
    check_key(host, key)
    check_port(host, port)
    run, screen = open_run(folder), Screen()
    policy = run.policy(name)
    with screen.console.status("merging the policy"):
        merged = merged_folder(run, policy["policy_id"])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a plain kill also takes the server down
    inner, log = free_port(), merged.parent / f"server-{port}.log"
    server = start_server(merged.parent, inner, run.config, log)
    try:
        with screen.console.status("loading the policy"):
            wait_until_ready(server, inner)
            load(inner, merged.name)
        answer_until_stopped(run, server, inner, host, port, key, screen, hello(run, policy, host, port, bool(key)))
        raise RlaifError(f"the server ended by itself with exit code {server.wait()}")
    except KeyboardInterrupt:
        screen.line("stopped", style="dim")
    except RlaifError as error:
        raise RlaifError(f"{error}; {log} says why{last_line(log)}") from error
    finally:
        stop(server)


def answer_until_stopped(
    run: Run, server: subprocess.Popen[bytes], inner: int, host: str, port: int, key: str, screen: Screen, greeting: str
) -> None:
    """The gateway on `host` and `port`, until `server` ends; KeyboardInterrupt on a signal."""
    import asyncio

    import uvicorn

    from rlaif.share.gateway import make_app

    def complain(message: str) -> None:
        screen.line(message, style="yellow")

    def prepare(policy_id: str) -> Path:
        return merged_folder(run, policy_id)

    app = make_app(run, f"http://{LOCAL}:{inner}", prepare, key, complain)
    settings = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=3, limit_concurrency=64
    )
    gateway = uvicorn.Server(settings)

    async def watched() -> None:
        answering = asyncio.create_task(gateway.serve())
        while not gateway.started and not answering.done():
            await asyncio.sleep(0.05)
        screen.line(greeting)
        screen.line("Research software, not medical advice. Ctrl-C stops the server.", style="dim")
        while server.poll() is None and not answering.done():
            await asyncio.sleep(0.2)
        gateway.should_exit = True
        await answering

    asyncio.run(watched())
    if gateway.should_exit and server.poll() is None:
        raise KeyboardInterrupt  # uvicorn took the signal, and has let the last answers end


def check_key(host: str, key: str) -> None:
    """UsageError where other machines could ask without a key."""
    if key and (len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key):
        raise UsageError(f"{KEY} has to be {SHORTEST_KEY} or more ASCII characters without blanks")
    if not key and not is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached from other machines: set {KEY} to a key of {SHORTEST_KEY} or more "
            "characters that clients have to send, or leave --host at 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hello(run: Run, policy: dict[str, Any], host: str, port: int, keyed: bool) -> str:
    body = json.dumps(
        {"model": policy["policy_id"], "messages": [{"role": "user", "content": "What are the symptoms of asthma?"}]}
    )
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
    key = f' -H "Authorization: Bearer ${KEY}"' if keyed else ""
    return (
        f"{policy['kind']} policy {policy['policy_id']} of {run.folder} at {where}, as model "
        f"{policy['policy_id']}; greedy. Also champion, sft, base and every id that {where}/models lists. Try:\n"
        f"  curl {where}/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'"
    )


def merged_folder(run: Run, policy_id: str) -> Path:
    """The policy as a plain model in `served/<policy_id>` of the run: made when it is not there yet, or is of other
    weights or words.

    Its generation settings are greedy, and its chat template puts a question that comes alone into the words of the
    run's policy prompt. Raises RlaifError when the weights are missing or changed, and UsageError when the prompt is
    not the run's.
    """
    policy, prompt = run.policy(policy_id), run_prompt(run)
    folder = run.served_folder(policy)
    adapter_of(run, policy)  # says what is wrong with its row before anything is made
    told = {"policy_sha256": policy["sha256"], "base_sha256": policy["base_sha256"], "prompt_sha256": prompt.sha256}
    try:
        if json.loads((folder / MERGED).read_text("utf-8")) == told:
            return folder
    except (OSError, ValueError):
        pass  # not there, or half there: made anew
    check_disk(run.folder)
    try:
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as draft:
            part = Path(draft) / folder.name
            write_merged(run, policy, prompt, part)
            (part / MERGED).write_text(json.dumps(told, indent=2) + "\n", "utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(part, folder)
    except OSError as error:
        raise RlaifError(
            f"{error.filename or folder}: cannot write the merged model ({error.strerror or error}); make room"
        ) from error
    return folder


def write_merged(run: Run, policy: dict[str, Any], prompt: Prompt, folder: Path) -> None:
    """The policy as one plain model, in the precision it is sampled in here."""
    from rlaif.quiet import quiet  # noqa: F401  (sets the environment before torch loads)

    import torch

    from rlaif.share.merge import merge, save_model

    dtype = run.config.model.dtype
    if dtype == "auto" and run.config.model.device != "cpu" and torch.cuda.is_available():
        dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    merged = merge(run, policy, dtype)
    settings, tokenizer = merged.model.generation_config, merged.base.tokenizer
    settings.do_sample, settings.repetition_penalty = False, 1.0
    settings.temperature = settings.top_p = settings.top_k = None
    tokenizer.chat_template = template_of_run(tokenizer, prompt)
    folder.mkdir(parents=True)
    save_model(merged.model, tokenizer, folder)


def template_of_run(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    """A chat template that makes of a question, and of a conversation, the tokens that
    :func:`rlaif.render.conversation_prompt` leads to.

    Messages that bring a system turn or tools, begin with another role than the user's or have content in parts stay as
    they come. A base without a template gets plain paragraphs, as there.
    """
    own = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    # The server adds nothing to what a template makes: where there is none, ours writes what begins a plain text.
    begin = "" if own else "".join(f"{{{{- {json.dumps(t)} }}}}" for t in _tokens(tokenizer, beginning(tokenizer)))
    if "enable_thinking" in own:
        begin = "{%- set enable_thinking = false %}"
    plain = (
        "{%- for message in messages %}{{- ('' if loop.first else '\\n\\n') ~ "
        "('Answer:' if message['role'] == 'assistant' else '') ~ message['content'] }}{%- endfor %}"
        "{{- '\\n\\nAnswer:' if add_generation_prompt else '' }}"
    )
    bare = (
        "messages[0]['role'] == 'user' and not messages | rejectattr('role', 'in', ['user', 'assistant']) | list "
        "and not messages | rejectattr('content', 'string') | list"
    )
    system, user = in_jinja(prompt.system), in_jinja(prompt.user)
    if own and not takes_system(tokenizer):
        both = f"{system} ~ '\\n\\n' ~ {user}" if prompt.system.strip() else user
        first = f"[{{'role': 'user', 'content': {both}}}]"
    else:
        first = f"[{{'role': 'system', 'content': {system}}}, {{'role': 'user', 'content': {user}}}]"
    reworded = (
        "{%- set said = namespace(turns=[]) %}{%- for message in messages %}"
        f"{{%- set said.turns = said.turns + ({first} if loop.first else [{{'role': 'user', 'content': {user}}}] "
        "if message['role'] == 'user' else [message]) %}{%- endfor %}{%- set messages = said.turns %}"
    )
    return f"{begin}{{%- if {bare} %}}{reworded}{{%- endif %}}{own or plain}"


def _tokens(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    return [str(token) for token in tokenizer.convert_ids_to_tokens(ids)]


def in_jinja(template: str) -> str:
    """A part of a policy prompt as an expression, the question being `message`."""
    mark = "\N{OBJECT REPLACEMENT CHARACTER}"
    words = fill(template, {"question": mark, "context": ""}).split(mark)
    return " ~ message['content'] ~ ".join(json.dumps(part, ensure_ascii=False) for part in words)


def check_port(host: str, port: int) -> None:
    """UsageError when nothing can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host} port {port} ({error}); give another --port or --host") from error


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


def last_line(log: Path) -> str:
    """The last words of a log, to follow a message; "" where it has none."""
    lines = log.read_text("utf-8", "replace").split("\n") if log.is_file() else []
    said = [" ".join(line.split()) for line in lines if line.strip()]
    return f" ({said[-1][:200]})" if said else ""


def start_server(served: Path, port: int, config: Config, log: Path) -> subprocess.Popen[bytes]:
    """`transformers serve` on loopback, offline, in the folder `served`, so that a model's name is its folder's; what
    it and its libraries print goes to the file `log`, which is begun anew.
    """
    command = [sys.executable, "-P", "-m", "transformers.cli.transformers", "serve", "--host", LOCAL]
    command += ["--port", str(port), "--device", "cpu" if config.model.device == "cpu" else "auto"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    environment.pop(KEY, None)
    with log.open("wb") as out:
        return subprocess.Popen(
            command, cwd=served, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """RlaifError when the server ends, or does not answer within `READY_SECONDS`."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RlaifError(f"the server ended with exit code {server.returncode} before it was ready")
        try:
            with direct().open(f"http://{LOCAL}:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RlaifError(f"the server did not answer within {READY_SECONDS} s")


def load(port: int, name: str) -> None:
    """Have the server load a model now. RlaifError, with its reason, when it cannot."""
    request = urllib.request.Request(
        f"http://{LOCAL}:{port}/load_model",
        json.dumps({"model": name}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with direct().open(request, timeout=READY_SECONDS) as events:
            said = events.read().decode("utf-8", "replace")
    except (urllib.error.URLError, OSError) as error:
        raise RlaifError(f"the server could not load {name} ({error})") from error
    if '"error"' in said:
        raise RlaifError(f"the server could not load {name}: {said.strip().splitlines()[-1][:300]}")


def direct() -> urllib.request.OpenerDirector:
    """What is on this machine is asked without a proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
