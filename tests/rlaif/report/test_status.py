import io
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

import rlaif
from rlaif.checkpoints import seal
from rlaif.config import Config, flat
from rlaif.report import status
from rlaif.report.snapshot import duration, lock_holder, state, take, time_spent
from rlaif.run import Run, now
from rlaif.screen import Screen
from rlaif.testing.run import candidate
from rlaif.types import Decision
from stores.lock import run_lock
from stores.store import Store

CONFIG = Config(seed=7)
T0 = now().replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = {"run_id": "r1", "profile": "embedded", "config": flat(CONFIG), "config_hash": CONFIG.config_hash, "seed": 7}
    return Store.create(tmp_path_factory.mktemp("fresh"), row).path


@pytest.fixture
def run(tmp_path: Path, fresh: Path) -> Run:
    """Copied, because making one takes ten times as long."""
    return Run(tmp_path, Store(Path(shutil.copy(fresh, tmp_path))), CONFIG)


def policy(name: str, kind: str, round: int) -> dict:
    return {"policy_id": name, "kind": kind, "round": round, "path": "" if kind == "base" else f"policies/{name}"}


def session(name: str, start: int, end: int | None, code: int | None = 0, pid: int = 1) -> dict:
    """Times in seconds after T0."""
    ended = None if end is None else T0 + timedelta(seconds=end)
    row = {
        "session_id": name,
        "started_at": T0 + timedelta(seconds=start),
        "pid": pid,
        "argv": ["loop", "--rounds", "1"],
    }
    return row | {"ended_at": ended, "exit_code": code if end is not None else None}


def stage(round: int, name: str, start: int, seconds: float | None, model: float = 0.0) -> dict:
    row = {"round": round, "stage": name, "started_at": T0 + timedelta(seconds=start), "status": "running"}
    if seconds is None:
        return row
    finished = T0 + timedelta(seconds=start + seconds)
    return row | {
        "status": "done",
        "finished_at": finished,
        "seconds": seconds,
        "model_seconds": model,
        "peak_memory_mb": 100.0 + start,
    }


def gate(
    champion: str, challenger: str, round: int, metric: str, condition: str = "better", **numbers: float | int
) -> dict:
    row = {
        "round": round,
        "look": 1,
        "champion": champion,
        "challenger": challenger,
        "condition": condition,
        "metric": metric,
    }
    row |= {"benchmark": "medquad_style" if metric == "token_f1" else "pubmedqa_style", "passed": True}
    values = {"n": 60, "champion_mean": 0.4, "challenger_mean": 0.45, "delta": 0.05, "ci_low": 0.01, "ci_high": 0.09}
    return row | values | numbers


@pytest.fixture
def finished(run: Run) -> Run:
    """SFT promoted, round 1 inconclusive."""
    run.store.write(
        {
            "policies": [
                policy("base0000aa", "base", 0),
                policy("sft00000bb", "sft", 0),
                policy("dpo10000cc", "dpo", 1),
            ],
            "rounds": [
                {
                    "round": 0,
                    "champion_in": "base0000aa",
                    "challenger": "sft00000bb",
                    "champion_out": "sft00000bb",
                    "decision": "PROMOTE",
                },
                {
                    "round": 1,
                    "champion_in": "sft00000bb",
                    "challenger": "dpo10000cc",
                    "champion_out": "sft00000bb",
                    "decision": "INCONCLUSIVE",
                },
            ],
            "gates": [
                gate(
                    "base0000aa",
                    "sft00000bb",
                    0,
                    "token_f1",
                    champion_mean=0.3,
                    challenger_mean=0.45,
                    delta=0.15,
                    ci_low=0.1,
                    ci_high=0.2,
                ),
                gate(
                    "base0000aa",
                    "sft00000bb",
                    0,
                    "token_f1",
                    "not_worse",
                    champion_mean=0.3,
                    challenger_mean=0.45,
                    ci_low=0.11,
                    ci_high=0.19,
                ),
                gate("base0000aa", "sft00000bb", 0, "accuracy", champion_mean=0.5, challenger_mean=0.55),
                gate(
                    "base0000aa",
                    "sft00000bb",
                    0,
                    "macro_f1",
                    "not_worse",
                    champion_mean=0.35,
                    challenger_mean=0.36,
                    delta=0.01,
                    ci_low=-0.02,
                ),
                gate(
                    "sft00000bb",
                    "dpo10000cc",
                    1,
                    "token_f1",
                    champion_mean=0.45,
                    challenger_mean=0.446,
                    delta=-0.004,
                    ci_low=-0.03,
                    ci_high=0.02,
                ),
            ],
            "decisions": [
                Decision(0, "gate", "PROMOTE", "better [bold]on[/bold] token_f1", {"policy_id": "sft00000bb"}),
                Decision(1, "gate", "INCONCLUSIVE", "about 900 items would settle it", {"policy_id": "sft00000bb"}),
            ],
            "sessions": [session("s1", 0, 100)],
            "stages": [
                stage(0, "prepare", 0, 10),
                stage(0, "sft", 10, 50, 48),
                stage(1, "evaluate:medquad:x", 60, 20, 20),
                stage(1, "evaluate:pubmedqa:x", 80, 10, 7),
            ],
        }
    )
    return run


def shown(run: Run, width: int = 120) -> str:
    out = io.StringIO()
    status.show(run, Screen(Console(file=out, width=width, highlight=False)))
    return out.getvalue()


def test_summary_shows_what_the_gate_saw(finished: Run) -> None:
    columns, rows = status.summary_table(finished)
    assert columns == [
        "policy",
        "medquad_style token_f1",
        "pubmedqa_style accuracy",
        "pubmedqa_style macro_f1",
        "decision",
    ]
    assert rows[0] == ["base\nbase0000", "0.3000 (n=60)", "0.5000 (n=60)", "0.3500 (n=60)", ""]
    sft = [
        "SFT\nsft00000\nchampion",
        "0.4500 (n=60)\n+0.1500\n+0.100..+0.200",
        "0.5500 (n=60)\n+0.0500\n+0.010..+0.090",
    ]
    assert rows[1] == [*sft, "0.3600 (n=60)\n+0.0100\n> -0.020", "PROMOTE\nvs base"]
    assert rows[2] == ["round 1\ndpo10000", "0.4460 (n=60)\n-0.0040\n-0.030..+0.020", "", "", "INCONCLUSIVE\nvs SFT"]


def test_the_base_at_the_gate_has_its_own_interval_where_the_items_are_the_same(finished: Run) -> None:
    """0.3 of 60 items at the gate: 18 of 60 right is that, 18 of 61 is another set of items."""
    same = {"policy_id": "base0000aa", "benchmark": "medquad_style", "split": "gate", "metric": "token_f1"}
    items = [same | {"item_id": str(i), "value": float(i < 18), "status": "scored"} for i in range(61)]
    finished.store.write({"eval_items": items[:60]})
    assert status.summary_table(finished)[1][0][1] == "0.3000 (n=60)\n0.181..0.419"
    finished.store.write({"eval_items": items[60:]})
    assert status.summary_table(finished)[1][0][1] == "0.3000 (n=60)"


def test_summary_before_any_gate_shows_plain_means(run: Run) -> None:
    assert status.summary_table(run) == (["policy", "decision"], [])
    items = [
        {
            "policy_id": "b",
            "benchmark": "medquad_style",
            "split": "gate",
            "item_id": str(i),
            "metric": "token_f1",
            "value": i / 2,
            "status": "scored",
        }
        for i in range(3)
    ]
    other = [items[2] | {"split": "sealed"}, items[2] | {"metric": "rouge_l"}, items[2] | {"data_sha256": "other file"}]
    run.store.write(
        {
            "policies": [policy("b", "base", 0), policy("s", "sft", 0)],
            "rounds": [{"round": 0, "champion_in": "b"}],
            "eval_items": items + other,
        }
    )
    columns, rows = status.summary_table(run)
    assert columns == ["policy", "medquad_style token_f1", "decision"]
    assert rows == [["base\nb\nchampion", "0.5000 (n=3)\n0.000..1.000", ""], ["SFT\ns", "", "under way\nvs base"]]


def test_a_round_that_made_no_challenger_has_a_row(finished: Run) -> None:
    finished.store.write(
        {
            "rounds": [
                {"round": 2, "champion_in": "sft00000bb", "champion_out": "sft00000bb", "decision": "INCONCLUSIVE"}
            ]
        }
    )
    assert status.summary_table(finished)[1][-1] == ["round 2\nnone made", "", "", "", "INCONCLUSIVE"]


def test_time_by_kind_of_stage_and_share_of_model_work(finished: Run) -> None:
    assert status.stage_times(take(finished.store))[1] == [
        ["sft", "1", "50.0", "48.0"],
        ["evaluate", "2", "30.0", "27.0"],
        ["prepare", "1", "10.0", "0.0"],
    ]
    spent = time_spent(take(finished.store))
    assert (spent.wall, spent.model, spent.share, spent.sessions, spent.peak_memory_mb) == (100.0, 75.0, 0.75, 1, 180.0)


def test_a_killed_session_counts_up_to_its_last_stage_and_a_running_one_up_to_now(run: Run) -> None:
    stages = [stage(0, "prepare", 0, 20, 2), stage(0, "sft", 20, 10, 1)]
    run.store.write({"sessions": [session("s1", 0, None), session("s2", 500, 510)], "stages": stages})
    assert time_spent(take(run.store)).wall == 40.0
    run.store.write({"sessions": [session("s3", 1000, None, pid=os.getpid())]})
    assert time_spent(take(run.store)).wall == 40.0
    with run_lock(run.folder):
        assert 2600 - 60 < time_spent(take(run.store)).wall - 40.0 < 2600 + 600  # began 2,600 s ago
    assert time_spent(take(run.store)).share == 3.0 / 40.0


def test_no_session_gives_no_share(run: Run) -> None:
    assert time_spent(take(run.store)).share is None


def test_state_of_a_finished_run(finished: Run) -> None:
    assert state(take(finished.store)) == "finished round 1"


def test_state_of_failed_and_killed_runs_names_the_command(finished: Run) -> None:
    finished.store.write(
        {"rounds": [{"round": 2, "champion_in": "sft00000bb"}], "sessions": [session("s2", 200, 210, code=1)]}
    )
    assert (
        state(take(finished.store))
        == "stopped in round 2, last exit code 1: continue with the same command (loop --rounds 1)"
    )
    finished.store.write({"sessions": [session("s3", 300, None)]})
    assert state(take(finished.store)).startswith(
        "stopped in round 2, the last session was killed: continue with the same command"
    )


def test_state_names_the_step_from_which_a_training_goes_on(finished: Run) -> None:
    finished.store.write(
        {"rounds": [{"round": 2, "champion_in": "sft00000bb"}], "sessions": [session("s3", 300, None)]}
    )
    for step in (40, 1240):
        (finished.folder / "checkpoints" / "f1d8283b71380286" / f"checkpoint-{step}").mkdir(parents=True)
        if step == 40:
            seal(finished.folder / "checkpoints" / "f1d8283b71380286" / "checkpoint-40", {})
    assert state(take(finished.store)).endswith("(loop --rounds 1), and the training goes on from step 40")
    with run_lock(finished.folder):
        assert "from step" not in state(take(finished.store))


def test_state_before_anything_happened(run: Run) -> None:
    assert state(take(run.store)) == "stopped before round 0, no session was recorded: continue with the same command"
    assert "champion: none yet" in shown(run)


def test_state_of_a_running_loop_names_process_and_stage(finished: Run) -> None:
    finished.store.write(
        {
            "rounds": [{"round": 2, "champion_in": "sft00000bb"}],
            "sessions": [session("s2", 200, None, pid=os.getpid())],
            # counted from now, not from T0: this file may run minutes after it was loaded
            "stages": [stage(2, "judge", (now() - T0).total_seconds() - 75, None)],
        }
    )
    with run_lock(finished.folder):
        line = state(take(finished.store))
    assert line.startswith(
        f"running: pid {os.getpid()} since {T0 + timedelta(seconds=200):%Y-%m-%d %H:%M} UTC; round 2, judge for 1 min "
    )


def test_a_lock_file_left_by_a_dead_loop_holds_nobody(run: Run) -> None:
    assert lock_holder(run.folder) is None
    assert not (run.folder / "loop.lock").exists()
    with run_lock(run.folder):
        assert lock_holder(run.folder) == str(os.getpid())
    assert (run.folder / "loop.lock").read_text() == f"{os.getpid()}\n"
    assert lock_holder(run.folder) is None
    with run_lock(run.folder):
        pass  # asking did not keep the lock


def test_rounds_come_from_the_view_and_each_says_what_its_questions_came_to(finished: Run) -> None:
    common = {"round": 1, "judge_id": "j"}
    reasons = ["tie: both 0.50", "all_bad: best 0.20 < 0.50", "all_bad: best 0.30 < 0.50"]
    dropped = [
        common | {"pair_id": f"p{i}", "question_id": f"q{i}", "status": "dropped", "reason": reason}
        for i, reason in enumerate(reasons)
    ]
    kept = [
        common | {"pair_id": f"k{i}", "question_id": "q9", "status": "kept", "chosen_id": "a", "rejected_id": f"b{i}"}
        for i in range(2)
    ]
    other = common | {"pair_id": "k9", "question_id": "q8", "status": "kept", "chosen_id": "a", "rejected_id": "c"}
    finished.store.write({"preferences": dropped})
    finished.store.write({"preferences": kept})
    finished.store.write({"preferences": [other | {"reason": "fallback: length_ratio: 3.00 outside 0.67-1.50"}]})
    snapshot = take(finished.store)
    _, rows = status.round_table(snapshot)
    assert rows == [["0", "", "", "", "", "", "PROMOTE"], ["1", "", "", "3", "3", "40%", "INCONCLUSIVE"]]
    assert status.yield_lines(snapshot) == ["round 1, 5 questions: kept 40%, all_bad 40%, tie 20%"]
    assert "  round 1, 5 questions: kept 40%, all_bad 40%, tie 20%" in shown(finished)


def test_show_prints_data_as_it_is_and_fits_80_columns(finished: Run) -> None:
    text = shown(finished, width=80)
    assert "profile embedded, seed 7, id r1" in text
    assert "champion: sft00000bb (sft, round 0)" in text
    assert "round 0, gate: PROMOTE: better [bold]on[/bold] token_f1" in text
    assert "round 1, gate: INCONCLUSIVE: about 900 items would settle it" in text
    assert "100 s in 1 session (imports not counted), 75% of it model work; peak memory 180 MB" in text
    for cell in ("+0.100..+0.200", "INCONCLUSIVE", "0.4460 (n=60)", "champion"):  # nothing was folded in the middle
        assert cell in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3725, "1 h 2 min"), (-3, "0 s")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_these_modules_import_no_torch() -> None:
    code = "import sys, rlaif.report.status, rlaif.admin, rlaif.doctor\n"
    code += "print([m for m in ('torch', 'transformers', 'scipy') if m in sys.modules])"
    root = Path(rlaif.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_what_sampled_elsewhere_is_named(finished: Run) -> None:
    assert "sampled by" not in shown(finished) and status.as_json(finished)["engines"] == []
    rows = [candidate(f"c{i}", 1, "q1", i, "An answer.", 3) for i in range(5)]
    for row, engine in zip(rows, ("vllm 0.32.0", "vllm 0.32.0", "vllm 0.33.0"), strict=False):
        row["sampling"] = {"temperature": 0.8, "engine": engine}
    finished.store.write({"candidates": rows})
    said = shown(finished)
    assert "2 answers were sampled by vllm 0.32.0" in said and "1 answer was sampled by vllm 0.33.0" in said
    assert status.as_json(finished)["engines"] == [
        {"engine": "vllm 0.32.0", "n": 2},
        {"engine": "vllm 0.33.0", "n": 1},
    ]


def test_settings_of_every_kind_are_in_force(finished: Run) -> None:
    settings = {"sampling.k": 6, "pairs.truncated": "retry", "pairs.length_by_choice": True}
    finished.decide(Decision(2, "controller", "more_candidates", "yield_low is red", {"settings": settings}))
    assert status.watch_words(take(finished.store)).endswith(
        "in force: sampling.k = 6, pairs.truncated = retry, pairs.length_by_choice = true"
    )
