"""A round sampled by servers over real HTTP, with the embedded base behind them in place of vLLM: what is recorded is
what this process would give to the same tokens, and a wrong server is found before anything is trained.
"""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from vllm_server import VllmServer

from command_line import call
from rlaif.loop.sample import sample_round
from rlaif.loop.served import check_base, check_servers
from rlaif.models.base import Base, load_base
from rlaif.policies import load_policy
from rlaif.prompts import load_prompt
from rlaif.records import load_questions
from rlaif.render import answer_prompt, encode
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import Candidate, RlaifError

PROMPT = load_prompt("prompts/policy/answer.md")
SFT = "5f70000000000000"
SMALL = {"k": 2, "max_new_tokens": 8, "batch_size": 2}


@pytest.fixture(scope="module")
def base(trained_run: Run) -> Base:
    return load_base(trained_run.config.model)


def real(base: Base, raw: bool = True) -> Any:
    """Draws as vLLM does, by the base or by an adapter on it. Not `raw`: log-probabilities after temperature."""
    import torch

    from rlaif.models.adapter import fast_copy
    from rlaif.models.generate import _nucleus

    models, lock = dict[str, Any](), threading.Lock()

    @torch.inference_mode()
    def draw(path: str, body: dict[str, Any]) -> list[tuple[list[int], list[float], str]]:
        with lock:
            if path not in models:
                models[path] = fast_copy(base, Path(path) if path else None)
        drawn = []
        for i in range(body["n"]):
            rng, ids, logprobs, why = torch.Generator().manual_seed(body["seed"] + i), list[int](), list[float](), ""
            while not why:
                logits = models[path](input_ids=torch.tensor([body["prompt"] + ids])).logits[:, -1].float()
                scaled = logits / (body["temperature"] or 1)
                chosen = int(_nucleus(scaled, body["top_p"], torch.rand(1, generator=rng)))
                chosen = chosen if body["temperature"] else int(logits.argmax())
                logprobs.append(float((logits if raw else scaled).log_softmax(-1)[0, chosen]))
                ids.append(chosen)
                over = "length" if len(ids) == body["max_tokens"] else ""
                why = "stop" if chosen in body["stop_token_ids"] else over
            drawn.append((ids, logprobs, why))
        return drawn

    return draw


def served(trained_run: Run, tmp_path: Path, *servers: VllmServer, **sampling: Any) -> Run:
    folder = tmp_path / "run"
    run = open_run(folder if folder.exists() else Path(shutil.copytree(trained_run.folder, folder)))
    urls = tuple(server.url for server in servers)
    settings = run.config.sampling.model_copy(
        update=SMALL | ({"engine": "vllm", "urls": urls} if urls else {}) | sampling
    )
    pairs = run.config.pairs.model_copy(update={"against": "greedy"})
    return dataclasses.replace(run, config=run.config.model_copy(update={"sampling": settings, "pairs": pairs}))


def sampled(run: Run, base: Base, said: io.StringIO | None = None) -> list[Candidate]:
    questions = load_questions(run, "split = 'train'", [])[:5]
    return sample_round(run, base, SFT, 2, questions, PROMPT, Screen(Console(file=said or io.StringIO(), width=250)))


@pytest.mark.slow
def test_a_round_over_two_servers_one_of_which_dies(trained_run: Run, base: Base, tmp_path: Path) -> None:
    said = io.StringIO()
    with VllmServer(real(base), dies_after=4) as one, VllmServer(real(base)) as two:
        run = served(trained_run, tmp_path, one, two)
        made = sampled(run, base, said)
    assert one.url in said.getvalue() and "go to the others" in said.getvalue()
    here = sampled(served(trained_run, tmp_path / "local"), base)
    places = [(c.question_id, c.sample_index, c.batch, c.seed) for c in made]
    assert places == [(c.question_id, c.sample_index, c.batch, c.seed) for c in here], "the same batches, none twice"
    assert not {c.candidate_id for c in made} & {c.candidate_id for c in here}
    assert {c.sampling["engine"] for c in made} == {"vllm 0.32.0"} and "engine" not in here[0].sampling
    detail = run.done(2, "sample")
    assert detail and detail["engine"] == "vllm 0.32.0" and "from vllm 0.32.0" in said.getvalue()
    greedy = [(c.text, c.n_tokens, c.finish_reason) for c in here if c.greedy]
    assert [(c.text, c.n_tokens, c.finish_reason) for c in made if c.greedy] == greedy and len(greedy) == 5
    for mine, theirs in zip(here, made, strict=True):
        if mine.greedy:
            assert theirs.logprob == pytest.approx(mine.logprob, abs=1e-3)
    pairs = [(a.text, b.text) for a, b in zip(made, made[1:], strict=False) if a.question_id == b.question_id]
    assert any(a != b for a, b in pairs), "answers to one question have seeds of their own"


@pytest.mark.slow
def test_what_is_stored_is_kept_when_no_server_is_left(trained_run: Run, base: Base, tmp_path: Path) -> None:
    with VllmServer(real(base), dies_after=5) as one:
        run = served(trained_run, tmp_path, one)
        with pytest.raises(RlaifError, match="no server is left") as caught:
            sampled(run, base)
    assert "\n" not in str(caught.value) and run.done(2, "sample") is None
    before = run.store.query("SELECT candidate_id, batch FROM candidates WHERE round = 2")
    assert 0 < len(before) < 15
    with VllmServer(real(base)) as two:
        made = sampled(served(trained_run, tmp_path, two), base)
    assert len(made) == 15 and {r["candidate_id"] for r in before} < {c.candidate_id for c in made}
    missing = {(c.batch, c.question_id) for c in made if c.batch not in {r["batch"] for r in before}}
    asked = [body for body in two.asked if body["max_tokens"] == SMALL["max_new_tokens"] and body["seed"] != 1]
    assert len(asked) == len(missing), "what is stored is not asked for again"
    run.store.execute([("UPDATE stages SET status = 'running' WHERE stage = 'sample' AND round = 2", [])])
    again = sampled(served(trained_run, tmp_path, two), base)  # which is gone by now
    assert [c.candidate_id for c in again] == [c.candidate_id for c in made], "no answer is missing, so nobody is asked"


@pytest.mark.slow
def test_the_log_probability_is_that_of_the_recorded_tokens(trained_run: Run, base: Base, tmp_path: Path) -> None:
    from rlaif.models.logprobs import ids_logprobs

    kept: list[tuple[list[int], list[int]]] = []
    inner = real(base)

    def draw(path: str, body: dict[str, Any]) -> Any:
        drawn = inner(path, body)
        kept.extend((body["prompt"], ids) for ids, _, _ in drawn)
        return drawn

    with VllmServer(draw) as there:
        run = served(trained_run, tmp_path, there)
        made = sampled(run, base)
    model = load_policy(run, base, SFT)
    local = ids_logprobs(model, kept)
    by_text = {}
    questions = {q.question_id: q for q in load_questions(run, "split = 'train'", [])}
    for (prompt, ids), value in zip(kept, local, strict=True):
        ended = ids[-1] == base.tokenizer.eos_token_id
        text = base.tokenizer.decode(ids[: len(ids) - ended], skip_special_tokens=True)
        by_text[tuple(prompt), text, len(ids)] = value
    for c in made:
        ids = tuple(encode(base.tokenizer, answer_prompt(base.tokenizer, PROMPT, questions[c.question_id])))
        assert c.logprob == pytest.approx(by_text[ids, c.text, c.n_tokens], abs=1e-3)


@pytest.mark.slow
def test_a_server_that_fits_passes_and_keeps_nothing(trained_run: Run, base: Base, tmp_path: Path) -> None:
    with VllmServer(real(base)) as there:
        run = served(trained_run, tmp_path, there)
        (run.folder / "probe").mkdir()  # of a run that was killed while it asked
        check_servers(run.config, pytest.fail)
        check_base(run, base, PROMPT, pytest.fail)
    assert there.adapters == {} and not list(run.folder.glob("*probe*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"draw": lambda path, body: [([5, 6], [-0.5, -0.25], "length")] * body["n"]}, "another base"),
        ({"draw": "processed"}, "--logprobs-mode raw_logprobs"),
        ({"window": 64}, "--max-model-len"),
        ({"refuses": "LoRA rank 16 is greater than max_lora_rank 8."}, "--max-lora-rank"),
    ],
)
def test_a_wrong_server_is_found_before_training(
    trained_run: Run, base: Base, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    how = {"draw": real(base, raw=settings.get("draw") != "processed")} | settings
    if how["draw"] == "processed":
        how["draw"] = real(base, raw=False)
    with VllmServer(**how) as there, pytest.raises(RlaifError) as caught:
        check_base(served(trained_run, tmp_path, there), base, PROMPT, pytest.fail)
    assert words in str(caught.value) and there.url in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_other_weights_under_the_policys_name_are_found(trained_run: Run, base: Base, tmp_path: Path) -> None:
    with VllmServer(real(base)) as there:
        there.adapters[SFT] = ""  # the base itself
        with pytest.raises(RlaifError, match=f"other weights as {SFT}"):
            sampled(served(trained_run, tmp_path, there), base)


def test_an_address_where_nobody_answers_stops_the_loop_before_a_run_is_made(tmp_path: Path) -> None:
    settings = ["--set", "sampling.engine=vllm", "--set", f"sampling.urls={json.dumps(['http://127.0.0.1:1/v1'])}"]
    code, _, err = call("loop", "--run", tmp_path / "run", *settings)
    assert code == 1 and "http://127.0.0.1:1/v1 cannot be reached" in err.replace("\n", " ")
    assert not (tmp_path / "run").exists()
