"""The facts behind the embedded data sets: `knowledge/*.toml`, one table a topic, split by topic.

Text for software tests, not medical advice.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rlaif.types import Split

FOLDER = Path(__file__).parent / "knowledge"
SECTIONS = {
    "condition": ("symptoms", "causes", "tests", "treatment", "prevention", "risks"),
    "medicine": ("uses", "side_effects", "precautions", "how_to_take", "interactions"),
}
HELD_OUT = 55  # topics each for gate and sealed; the rest train


@dataclass(frozen=True, slots=True)
class Topic:
    """One condition or medicine: `points` and `prose` map a section's name to its key points and to one sentence
    that says the same in other words."""

    name: str
    kind: str
    about: str
    points: dict[str, tuple[str, ...]]
    prose: dict[str, str]
    split: Split


@cache
def load_topics() -> tuple[Topic, ...]:
    """All topics, ordered by name. The split is drawn over the names with a fixed seed, so it never moves between
    runs.
    """
    tables = [t for file in sorted(FOLDER.glob("*.toml")) for t in tomllib.loads(file.read_text("utf-8"))["topic"]]
    tables.sort(key=lambda t: t["name"])
    names = [t["name"] for t in tables]
    if len(set(names)) != len(names):
        raise ValueError(f"{FOLDER}: a topic stands twice: {sorted({n for n in names if names.count(n) > 1})}")
    shuffled = random.Random(20).sample(names, len(names))
    gate, sealed = set(shuffled[:HELD_OUT]), set(shuffled[HELD_OUT : 2 * HELD_OUT])
    return tuple(
        Topic(
            name=t["name"],
            kind=t["kind"],
            about=t["about"],
            points={s: tuple(t[s]) for s in SECTIONS[t["kind"]]},
            prose={s: t[f"{s}_text"] for s in SECTIONS[t["kind"]]},
            split="gate" if t["name"] in gate else "sealed" if t["name"] in sealed else "train",
        )
        for t in tables
    )
