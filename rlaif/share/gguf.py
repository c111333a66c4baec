"""A model as a GGUF file for llama.cpp and Ollama: converted, described for Ollama, asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import rlaif
from rlaif.prompts import Prompt
from rlaif.render import Rendered, beginning, encode, filled_in
from rlaif.types import RlaifError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FILE = "model.gguf"
TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "q8_0": "q8_0"}  # --dtype -> the converter's word
SCRIPT = "convert_hf_to_gguf"
NO_CONVERTER = (
    "--format gguf needs llama.cpp's converter: give a folder of llama.cpp with --llama-cpp FOLDER "
    "(git clone https://github.com/ggml-org/llama.cpp)"
)


def find_converter(given: Path | None) -> Path:
    """The folder that holds llama.cpp's convert_hf_to_gguf.py: the given one, else where Python finds it installed.

    UsageError where there is none.
    """
    if given is not None:
        if not (given / f"{SCRIPT}.py").is_file():
            raise UsageError(f"--llama-cpp {given}: no {SCRIPT}.py in it; give a folder of llama.cpp's source")
        return given.absolute()
    found = find_spec(SCRIPT)
    if found is None or found.origin is None:
        raise UsageError(NO_CONVERTER)
    return Path(found.origin).parent


def convert(model: Path, file: Path, dtype: str, converter: Path) -> None:
    """Write the model in the folder `model` to `file`, its weights in `dtype`, a key of TYPES.

    RlaifError with the converter's own last words where it fails.
    """
    arguments = [str(converter), str(model), "--outfile", str(file), "--outtype", TYPES[dtype]]
    own = str(Path(rlaif.__file__).parents[1])  # this package, wherever it is imported from
    path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rlaif.share.gguf_convert", *arguments],
        env=os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode or not file.is_file():
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        hint = "; pip install it" if "No module named" in said[-1] else ""
        raise RlaifError(f"--format gguf: llama.cpp's converter failed: {said[-1]}{hint}")


def modelfile(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, max_new_tokens: int) -> str:
    """The Modelfile for Ollama. Its template is the policy's prompt, so that what a person types is the question.

    Sampling is greedy, as at the gate. A beginning token is left out where the tokenizer puts it there by itself.
    """
    place = "\ue000"  # of the question: a character for private use, which no prompt holds
    text = str(filled_in(tokenizer, prompt, place))
    begins = tokenizer.decode(beginning(tokenizer))
    text = text.removeprefix(begins) if begins else text
    template = text.replace("{{", '{{ "{{" }}').replace('"""', '{{ "\\"\\"\\"" }}').replace(place, "{{ .Prompt }}")
    ends = [tokenizer.eos_token] if tokenizer.eos_token else []
    lines = [
        f"FROM ./{FILE}",
        f'TEMPLATE """{template}{{{{ .Response }}}}"""',
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_predict {max_new_tokens}",
        *(f'PARAMETER stop "{end}"' for end in ends),
    ]
    return "\n".join(lines) + "\n"


def can_ask() -> bool:
    """Whether llama-cpp-python is installed, which reads a GGUF file."""
    return find_spec("llama_cpp") is not None


def answers(
    file: Path,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    step: Callable[[], None] = lambda: None,
) -> list[str]:
    """Greedy answers to the prompts by llama.cpp on the CPU, with the tokenizer that stands in the file."""
    import llama_cpp

    longest = max((len(encode(tokenizer, text)) for text in prompts), default=0)
    # A little more room than ours takes: the two tokenizers may differ, which is what is looked for.
    room = longest + longest // 4 + max_new_tokens + 16
    model = llama_cpp.Llama(str(file), n_ctx=room, n_gpu_layers=0, verbose=False)
    found = []
    for text in prompts:
        begins = [] if isinstance(text, Rendered) else beginning(tokenizer)
        ids = begins + model.tokenize(text.encode(), add_bos=False, special=True)
        made = model.create_completion(ids, max_tokens=max_new_tokens, temperature=0.0, repeat_penalty=1.0)
        found.append(str(made["choices"][0]["text"]))
        step()
    return found
