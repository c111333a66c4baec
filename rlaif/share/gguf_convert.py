"""llama.cpp's own converter, run as a process of its own:

    python -m rlaif.share.gguf_convert FOLDER MODEL --outfile FILE --outtype TYPE

FOLDER holds its convert_hf_to_gguf.py; the rest are that script's arguments. It knows the tokenizers of published
models by a hash of what they do, and refuses all others. A tokenizer that was trained anew, and splits texts as a
published one does, is told by how it splits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# How tokenizer.json splits a text before BPE -> what llama.cpp calls that.
GPT_2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
_WORDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
_REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
SPLITS = {
    GPT_2: "gpt-2",
    f"{_WORDS}\\p{{N}}{_REST}": "qwen2",
    f"{_WORDS}\\p{{N}}{{1,3}}{_REST}": "llama-bpe",
}


def split_of(folder: Path) -> str | None:
    """llama.cpp's name of how the model's tokenizer splits texts; None where it does so in a way of its own."""
    said: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text("utf-8")).get("pre_tokenizer") or {}
    parts = said.get("pretokenizers", [said])
    if parts[-1].get("type") != "ByteLevel" or parts[-1].get("add_prefix_space"):
        return None
    whole = [GPT_2] if parts[-1].get("use_regex", True) else []  # ByteLevel's own way
    found = [part.get("pattern", {}).get("Regex", "") for part in parts[:-1]] + whole
    return SPLITS.get(found[0]) if len(found) == 1 else None


def main() -> None:
    folder, model = sys.argv[1:3]
    sys.path.insert(0, folder)
    import convert_hf_to_gguf as converter

    try:
        from conversion.base import TextModel
    except ModuleNotFoundError:  # llama.cpp before it had that folder
        TextModel = converter.TextModel  # noqa: N806
    by_hash = TextModel.get_vocab_base_pre

    def by_hash_or_split(self: Any, tokenizer: Any) -> str:
        try:
            return str(by_hash(self, tokenizer))
        except NotImplementedError:
            name = split_of(Path(model))
            if name is None:
                raise
            return name

    TextModel.get_vocab_base_pre = by_hash_or_split
    sys.argv = ["convert_hf_to_gguf.py", *sys.argv[2:]]
    converter.main()


if __name__ == "__main__":
    main()
