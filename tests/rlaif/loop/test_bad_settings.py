"""From settings that suit neither policy nor judge to enough pairs: the real rules for pairs, monitors and controller,
on answers that are made up. The same with a real policy is in tests/test_bad_settings.py.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.loop import monitors
from rlaif.loop.controller import Action, next_action, tuned
from rlaif.loop.pairs import prefer
from rlaif.loop.rounds import counted
from rlaif.loop.rules import Found, Setting, reached
from rlaif.types import Candidate, Verdict

BAD = ["pairs.consensus=0", "pairs.min_best=0.5", "sampling.max_new_tokens=40", "sampling.k=2"]
QUESTIONS = 150


def sampled(config: Config, round: int, rng: random.Random) -> tuple[list[Candidate], list[Verdict]]:
    """Answers of a weak policy: mean score 0.13 or so where nothing is cut, most of them longer than 40 tokens.

    A cut answer has its share of the score that the whole one would have had.
    """
    candidates, verdicts, limit = [], [], config.sampling.max_new_tokens
    for n in range(QUESTIONS):
        known = rng.expovariate(1 / 0.13)
        for k in range(config.sampling.k):
            length = round_up(rng.lognormvariate(4.3, 0.5))
            name = f"c{round}-{n}-{k}"
            text = " ".join(rng.choices([f"w{i}" for i in range(300)], k=12))
            finish = "length" if length > limit else "stop"
            at = (round, f"q{round}-{n}", "p", "x", k, 0, 1, text, min(length, limit))
            candidates.append(Candidate(name, *at, finish, 0.0, {}))  # type: ignore[arg-type]  # one of two words
            score = max(0.0, rng.gauss(known, 0.06)) * min(1, limit / length)
            verdicts.append(Verdict(name, "j", 0, "scored", min(score, 1.0)))
    return candidates, verdicts


def round_up(tokens: float) -> int:
    return int(tokens) + 1


@dataclass
class Story:
    yields: list[float] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


def told(configured: Config, rounds: int, seed: int) -> Story:
    rng, story, decisions = random.Random(seed), Story(), []
    settings: dict[str, Setting] = {}
    first = (0, 0)
    for round in range(1, rounds + 1):
        config = tuned(configured, settings)
        candidates, verdicts = sampled(config, round, rng)
        pairs = counted(prefer(candidates, verdicts, judge_id="j", round=round, sem=0.0, settings=config.pairs))
        now = pairs["questions_kept"], pairs["questions"]
        first = first if round > 1 else now
        cut = sum(c.finish_reason == "length" for c in candidates)
        scores: dict[str, list[float]] = {}
        for candidate, verdict in zip(candidates, verdicts, strict=True):
            scores.setdefault(candidate.question_id, []).append(verdict.score or 0.0)
        low = monitors.yield_low(*now, *first, config.monitors)
        action = next_action(
            [
                monitors.pair_yield(*now, *first, config.monitors),
                monitors.truncated(cut, len(candidates), config.monitors),
                low,
                monitors.lost_to(pairs["dropped"], now[1], low.red, config.monitors),
            ],
            ["INCONCLUSIVE"] * round,
            configured,
            settings,
            trained=pairs["kept"] >= 8,
            found=Found(cut / len(candidates), None, *reached(scores.values())),
            decisions=decisions,
        )
        story.yields.append(now[0] / now[1])
        story.actions.append(action)
        evidence = {"settings": action.settings} | action.record
        decisions.append({"round": round, "kind": "controller", "action": action.name, "evidence": evidence})
        settings = action.settings
    return story


@pytest.mark.parametrize("seed", range(5))
def test_bad_settings_give_enough_pairs_after_four_rounds_at_most(seed: int) -> None:
    story = told(load_config("embedded", BAD), 4, seed)
    assert story.yields[0] < 0.1 and max(story.yields) >= 0.4, story.yields
    done = [a.name for a in story.actions[:3]]
    assert sorted(done) == ["longer_answers", "lower_bar", "more_candidates"], "each of the three causes, one at a time"
    for action in story.actions[:3]:
        assert "yield_low is red" in action.reason and " -> " in action.reason
    for before, after in zip([{}, *(a.settings for a in story.actions)], story.actions, strict=False):
        changed = {k for k in before.keys() | after.settings.keys() if before.get(k) != after.settings.get(k)}
        assert len(changed) <= 1
