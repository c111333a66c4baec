"""A hook of mkdocs: Markdown files beside `docs/` become pages too, and links between the two folders still resolve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = {f"{name}.md": f"{name.lower()}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")}


def on_files(files: Files, config: Any) -> Files:
    for name, page in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are on the site, where all pages stand in one folder."""
    for name, target in BESIDE.items():
        markdown = markdown.replace(f"]({name}", f"]({target}").replace(f"](../{name}", f"]({target}")
    return markdown.replace("](docs/", "](") if page.file.src_uri in BESIDE.values() else markdown
