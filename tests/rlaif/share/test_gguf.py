"""GGUF: the converter is found and told of the tokenizer, Ollama asks in the policy's words, llama.cpp answers."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlaif.embedded import BASE
from rlaif.models.base import load_tokenizer
from rlaif.prompts import load_prompt
from rlaif.render import filled_in
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.share import gguf
from rlaif.share.export_model import export
from rlaif.share.gguf_convert import SPLITS, split_of
from rlaif.types import RlaifError, UsageError

QUIET = Screen(Console(file=io.StringIO()))
LLAMA_CPP = os.environ.get("RLAIF_LLAMA_CPP", "")  # a folder of llama.cpp's source


def tokenizer_file(folder: Path, pre: dict[str, Any] | None) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": pre}))
    return folder


def byte_level(regex: str = "", **own: Any) -> dict[str, Any]:
    last = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": not regex} | own
    first = [{"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"}] if regex else []
    return {"type": "Sequence", "pretokenizers": [*first, last]}


def test_how_a_tokenizer_splits_has_llama_cpps_name(tmp_path: Path) -> None:
    assert split_of(BASE) == "qwen2", "the shipped base splits as Qwen does"
    for regex, name in SPLITS.items():
        assert split_of(tokenizer_file(tmp_path, byte_level(regex))) == name
    assert split_of(tokenizer_file(tmp_path, byte_level()["pretokenizers"][0])) == "gpt-2", "its own way, no Sequence"
    unknown = (None, byte_level(r"\p{L}+"), byte_level(add_prefix_space=True), {"type": "Whitespace"})
    both = byte_level(next(iter(SPLITS)), use_regex=True)
    assert [split_of(tokenizer_file(tmp_path, pre)) for pre in (*unknown, both)] == [None] * 5


def test_the_converter_is_found_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no convert_hf_to_gguf.py in it"):
        gguf.find_converter(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "installed"), *sys.path])
    monkeypatch.setattr(gguf, "SCRIPT", "convert_for_this_test")
    with pytest.raises(UsageError, match=r"--llama-cpp FOLDER \(git clone"):
        gguf.find_converter(None)
    for folder in ("given", "installed"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "convert_for_this_test.py").touch()
    importlib.invalidate_caches()
    assert gguf.find_converter(tmp_path / "given") == tmp_path / "given"
    assert gguf.find_converter(None) == tmp_path / "installed"


def test_a_converter_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "convert_hf_to_gguf.py").write_text("import nothing_of_the_kind\n")
    with pytest.raises(RlaifError, match=r"converter failed: .*No module named 'nothing_of_the_kind'; pip install it$"):
        gguf.convert(BASE, tmp_path / "out.gguf", "float16", tmp_path)
    (tmp_path / "convert_hf_to_gguf.py").write_text("class TextModel:\n    get_vocab_base_pre = None\nmain = print\n")
    with pytest.raises(RlaifError, match="it said nothing"):
        gguf.convert(BASE, tmp_path / "out.gguf", "float16", tmp_path)


@pytest.mark.parametrize("words", ["answer.md", "plain.md", "qlora.md"])
def test_ollama_asks_in_the_policys_words(words: str) -> None:
    """The template with the question in its place is the text that the policy was trained to answer."""
    tokenizer, prompt = load_tokenizer(BASE, local_files_only=True), load_prompt(f"prompts/policy/{words}")
    text = gguf.modelfile(tokenizer, prompt, 40)
    template = text.split('"""')[1]
    assert template.endswith("{{ .Prompt }}" + template.split("{{ .Prompt }}")[1]) and template.count("{{ .") == 2
    asked = template.removesuffix("{{ .Response }}").replace("{{ .Prompt }}", "What helps?")
    assert asked == filled_in(tokenizer, prompt, "What helps?")
    assert text.startswith("FROM ./model.gguf\n") and "PARAMETER num_predict 40\n" in text
    assert f'PARAMETER stop "{tokenizer.eos_token}"' in text


def test_a_prompt_with_the_signs_of_a_template_is_written_out(tmp_path: Path) -> None:
    file = tmp_path / "odd.md"
    file.write_text(
        '---\nname: odd\nkind: policy\nformat: raw\n---\n# system\nSay """{{ x }}""".\n\n# user\n{question}\n'
    )
    text = gguf.modelfile(load_tokenizer(BASE, local_files_only=True), load_prompt(str(file)), 8)
    assert text.count('"""') == 2, "the template's own"
    assert 'Say {{ "\\"\\"\\"" }}{{ "{{" }} x }}{{ "\\"\\"\\"" }}.' in text


@pytest.mark.slow
def test_llama_cpp_answers_as_the_merged_model(trained_run: Run, tmp_path: Path) -> None:
    """Greedy answers to 50 prompts, by llama.cpp from the GGUF file and by transformers from the policy."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: nothing here reads a GGUF file")
    try:
        converter = gguf.find_converter(Path(LLAMA_CPP) if LLAMA_CPP else None)
    except UsageError as error:
        pytest.skip(f"{error}; the environment variable RLAIF_LLAMA_CPP names it for tests")
    out = tmp_path / "gguf"
    difference = export(trained_run, "champion", "gguf", out, "float32", QUIET, converter)
    assert difference is not None and difference.n == 50
    assert difference.equal >= 49 and difference.token_f1 > 0.99
    assert {path.name for path in out.iterdir()} == {"model.gguf", "Modelfile", "README.md"}
    card = (out / "README.md").read_text("utf-8")
    assert str(difference) in card and "ollama create" in card and 'library_name: "gguf"' in card
    assert str(tmp_path).encode() not in (out / "model.gguf").read_bytes()
