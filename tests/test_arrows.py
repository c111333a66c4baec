"""A test that can fail: packages stand on floors, and no import climbs. (Also imports inside functions; types alone are
imports too.)
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = (  # from the ground up; what stands on one line may import what stands below it, and itself
    "rlaif.types rlaif.quiet rlaif.text_table rlaif.wording rlaif.text_metrics rlaif.config_bounds rlaif.thoughts "
    "rlaif.checkpoints",
    "rlaif.screen rlaif.logs rlaif.config_cluster rlaif.config_data rlaif.config_judge rlaif.config_sampling "
    "rlaif.plugins rlaif.rubric rlaif.prompt_head",
    "rlaif.stats rlaif.power rlaif.config rlaif.prompts stores",
    "rlaif.config_file rlaif.render rlaif.trackers rlaif.embedded",
    "rlaif.run rlaif.models",
    "judges rlaif.records",
    "rlaif.policies rlaif.data rlaif.doctor",
    "rlaif.cluster",
    "rlaif.judging",
    "rlaif.exam rlaif.chat",
    "rlaif.evals",
    "rlaif.prepare",
    "rlaif.gate rlaif.train rlaif.report",
    "rlaif.loop rlaif.share rlaif.init",
    "rlaif.review rlaif.admin rlaif.api rlaif.testing",
    "rlaif.commands",
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}
BUILDERS = (
    "rlaif/embedded/build.py",
    "rlaif/embedded/build_judge.py",
)  # scripts that made what ships; nothing imports them


def room(module: str) -> str:
    return next((".".join(module.split(".")[:k]) for k in (2, 1) if ".".join(module.split(".")[:k]) in FLOOR), "")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{a.name}" if node.module == "rlaif" else node.module for a in node.names]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names]
    return [name for name in found if room(name)]


def test_no_import_climbs() -> None:
    climbs = []
    for top in ("rlaif", "judges", "stores"):
        for path in sorted((ROOT / top).rglob("*.py")):
            file = str(path.relative_to(ROOT))
            mine = room(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
            if mine and file not in BUILDERS:
                climbs += [
                    f"{file} -> {name}"
                    for name in imports(path)
                    if room(name) != mine and FLOOR[room(name)] >= FLOOR[mine]
                ]
    assert not climbs, "\n".join(climbs)
