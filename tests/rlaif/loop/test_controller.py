import pytest

from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.loop.controller import LEVERS, NO_PAIRS, RULES, next_action, settings_for, stopped, tuned
from rlaif.loop.monitors import Monitor

CONFIG = Config()
GREEN = [Monitor(name, 0.0, "", False, "fine") for name in dict.fromkeys(r.red for r in RULES) if name != NO_PAIRS]


def red(*names: str) -> list[Monitor]:
    return [Monitor(m.name, 9.0, "", True, "nine") if m.name in names else m for m in GREEN]


def act(*names: str, verdicts=("INCONCLUSIVE",), settings=None, **options):
    return next_action(red(*names), verdicts, CONFIG, settings or {}, **options)


def test_nothing_red_changes_nothing():
    for verdict in ("PROMOTE", "INCONCLUSIVE", "REJECT"):
        action = act(verdicts=[verdict])
        assert (action.name, action.settings) == ("continue", {})
    assert tuned(CONFIG, {}) is CONFIG


@pytest.mark.parametrize(
    ("monitor", "action", "settings"),
    [
        ("judge_up", "higher_margin", {"pairs.min_margin": 0.15}),
        ("logps_falling", "add_nll_weight", {"dpo.sft_weight": 1.5}),
        ("kl_to_sft", "lower_learning_rate", {"dpo.learning_rate": 2.5e-4}),
        ("overfit", "lower_learning_rate", {"dpo.learning_rate": 2.5e-4}),
        ("distinct_2", "lower_learning_rate", {"dpo.learning_rate": 2.5e-4}),
        ("length_ratio", "higher_margin", {"pairs.min_margin": 0.15}),
        ("truncated", "add_nll_weight", {"dpo.sft_weight": 1.5}),
        ("pair_yield", "more_candidates", {"sampling.k": 6}),
        ("score_spread", "more_candidates", {"sampling.k": 6}),
    ],
)
def test_each_red_monitor_has_its_action(monitor, action, settings):
    chosen = act(monitor)
    assert (chosen.name, chosen.settings) == (action, settings)
    assert chosen.reason.startswith(f"{monitor} is red (nine): ") and " -> " in chosen.reason
    changed = tuned(CONFIG, chosen.settings)
    (key,) = settings
    section, leaf = key.split(".")
    assert getattr(getattr(changed, section), leaf) == settings[key]
    assert changed.config_hash != CONFIG.config_hash


def test_every_monitor_and_lever_is_in_the_table():
    assert {r.action for r in RULES} == set(LEVERS)
    assert {m.name for m in GREEN} == {
        "logps_falling", "overfit", "length_ratio", "distinct_2", "pair_yield", "score_spread", "judge_up", "kl_to_sft",
        "truncated",
    }  # fmt: skip


def test_too_few_pairs_ask_for_more_candidates_and_then_stop():
    first = act(trained=False)
    assert (first.name, first.settings) == ("more_candidates", {"sampling.k": 6})
    assert "no challenger was trained" in first.reason
    last = act(trained=False, settings={"sampling.k": 8})
    assert last.name == "stop" and last.settings == {"sampling.k": 8}


def test_a_gamed_judge_rolls_back_where_there_is_something_to_go_back_to():
    chosen = act("judge_up", may_roll_back=True)
    assert (chosen.name, chosen.settings) == ("roll_back", {"pairs.min_margin": 0.15})
    assert act("judge_up", may_roll_back=True, settings={"pairs.min_margin": 0.25}).name == "roll_back", (
        "also with the margin at its limit"
    )


def test_one_thing_at_a_time_the_gravest_first():
    chosen = act("pair_yield", "logps_falling", "length_ratio")
    assert chosen.name == "add_nll_weight" and list(chosen.settings) == ["dpo.sft_weight"]


def test_steps_add_up_and_end_at_the_limit():
    settings: dict[str, float] = {}
    seen = []
    for _ in range(4):
        chosen = act("distinct_2", settings=settings)
        settings = chosen.settings
        seen.append((chosen.name, settings["dpo.learning_rate"]))
    rates = [2.5e-4, 1.25e-4, 6.25e-5]
    assert seen == [*(("lower_learning_rate", rate) for rate in rates), ("stop", 6.25e-5)]


def test_a_monitor_that_only_warns_never_stops_the_loop():
    chosen = act("pair_yield", "score_spread", settings={"sampling.k": 8})
    assert (
        chosen.name == "continue"
        and chosen.settings == {"sampling.k": 8}
        and "pair_yield, score_spread" in chosen.reason
    )


def test_the_next_rule_has_its_turn_where_the_first_has_nothing_left():
    chosen = act("distinct_2", "pair_yield", settings={"dpo.learning_rate": 6.25e-5})
    assert chosen.name == "more_candidates" and chosen.settings == {"dpo.learning_rate": 6.25e-5, "sampling.k": 6}


def test_rejections_in_a_row_stop():
    assert act(verdicts=["REJECT", "REJECT"]).name == "continue"
    assert act(verdicts=["REJECT", "PROMOTE", "REJECT", "REJECT"]).name == "continue"
    stop = act("pair_yield", verdicts=["PROMOTE", "REJECT", "REJECT", "REJECT"])
    assert stop.name == "stop" and "3 rejections in a row" in stop.reason
    patient = load_config("embedded", ["monitors.patience=5"])
    assert next_action(GREEN, ["REJECT"] * 4, patient, {}).name == "continue"


def decision(round, action, kind="controller", **evidence):
    if kind == "controller" and action != "PROMOTE":
        evidence.setdefault("settings", {})
    return {"round": round, "kind": kind, "action": action, "reason": "why", "evidence": evidence}


def test_settings_hold_from_the_next_round_on():
    made = [
        decision(0, "PROMOTE", "gate", policy_id="a"),
        decision(1, "more_candidates", settings={"sampling.k": 6}),
        decision(2, "roll_back", settings={"sampling.k": 6, "pairs.min_margin": 0.15}),
        decision(2, "PROMOTE", policy_id="a"),
    ]
    assert settings_for(made, 1) == {}
    assert settings_for(made, 2) == {"sampling.k": 6}
    assert settings_for(made, 3) == {"sampling.k": 6, "pairs.min_margin": 0.15}


def test_a_stop_holds_until_a_person_decides():
    made = [decision(1, "continue"), decision(2, "stop")]
    assert stopped(made[:1]) is None
    assert stopped(made) == "after round 2: why"
    assert stopped([*made, decision(2, "PROMOTE", "manual", policy_id="a")]) is None
