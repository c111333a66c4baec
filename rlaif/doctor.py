"""What this machine can run: versions, device, kernels, memory, disk, hub. Reads only; nothing here stops at the first
problem.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlaif import embedded
from rlaif.run import FREE_BYTES_NEEDED, installed

Level = Literal["ok", "warn", "bad"]

# What the loop cannot start without, and what only some runs need (with what for).
NEEDED = (
    "torch", "transformers", "trl", "peft", "datasets", "accelerate", "gptqmodel", "optimum", "tokenizers",
    "huggingface-hub",
    "duckdb", "pyarrow", "numpy", "scipy", "pydantic", "rouge-score", "rich", "typer",
)  # fmt: skip
OPTIONAL = {
    "bitsandbytes": "NF4 bases",
    "langchain": "LLM judges",
    "langchain-openai": "LLM judges at an OpenAI-compatible endpoint",
    "ray": "a cluster (cluster.address)",
}
EXTRA = ("ray",)  # of the optional ones, what no plain install brings
CONSTRAINTS = (
    Path(__file__).resolve().parents[1] / "constraints.txt"
)  # beside the checkout; an installed package has none
CPU_SETS = ("avx2", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16", "i8mm")
HUB_PATIENCE = 2.0  # seconds
LITTLE_MEMORY = 2 * 2**30  # the default profile with its libraries needs about one and a half
LITTLE_DISK = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `level`: ok, warn (something will not work or is untested), bad (the loop cannot run)."""

    name: str
    value: str
    level: Level
    hint: str = ""


def report(folder: Path) -> list[Finding]:
    """Everything that decides what runs here. `folder` is where the run lies or would lie. Raises nothing of its own.

    Imports torch, and on CUDA gptqmodel too, so it takes a few seconds.
    """
    torch = _torch()
    findings = [python_version(), *package_versions(tested_versions(CONSTRAINTS))]
    findings += [device(torch), processor(), kernels(torch, embedded.BASE), memory(), disk(folder)]
    return [*findings, _hub_here(), embedded_base(embedded.BASE), *what_would_run(torch, embedded.BASE)]


def python_version() -> Finding:
    tested = sys.version_info[:2] == (3, 11)
    return Finding("python", sys.version.split()[0], "ok" if tested else "warn", "" if tested else "tested with 3.11")


def tested_versions(constraints: Path) -> dict[str, str]:
    """Package -> version of the `name==version` lines of a constraints file; empty where there is no file."""
    try:
        lines = constraints.read_text("utf-8").splitlines()
    except OSError:
        return {}
    found = (re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*==\s*([^\s;#]+)", line) for line in lines)
    return {_canonical(m[1]): m[2] for m in found if m}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def package_versions(tested: Mapping[str, str]) -> list[Finding]:
    """One finding a package: installed, and of the tested version. A local part such as +cpu makes no difference."""
    findings = []
    for package in (*NEEDED, *OPTIONAL):
        version, wanted = installed(package), tested.get(_canonical(package), "")
        if not version and package in NEEDED:
            findings.append(
                Finding(package, "not installed", "bad", f"pip install {package}" + (f"=={wanted}" if wanted else ""))
            )
        elif not version:
            level: Level = "ok" if package in EXTRA else "warn"
            findings.append(Finding(package, "not installed", level, f"only needed for {OPTIONAL[package]}"))
        elif wanted and version.split("+")[0] != wanted.split("+")[0]:
            findings.append(Finding(package, version, "warn", f"tested with {wanted}"))
        else:
            findings.append(Finding(package, version, "ok"))
    return findings


def _torch() -> Any | str:
    """The module torch, or why it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of CUDA that does not load
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    return torch


def device(torch: Any | str) -> Finding:
    if isinstance(torch, str):
        return Finding(
            "device",
            f"torch cannot be imported ({torch})",
            "bad",
            "install torch again, for this machine's CUDA or for CPU",
        )
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        count = torch.cuda.device_count()
        more = f", the first of {count} (one is used)" if count > 1 else ""
        size = f"{properties.total_memory / 2**30:.1f} GiB, compute capability {properties.major}.{properties.minor}"
        return Finding("device", f"cuda: {properties.name}, {size}{more}", "ok")
    hint = (
        ""
        if torch.version.cuda is None
        else f"this torch is built for CUDA {torch.version.cuda}, but sees no GPU: check the driver"
    )
    return Finding("device", f"cpu, {torch.get_num_threads()} torch threads", "warn" if hint else "ok", hint)


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    """Cores this process may use, and the instruction sets that matter for matrix products."""
    try:
        flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError:
        flags = None
    have = set(flags[1].split()) if flags else set()
    sets = ", ".join(name.upper() for name in CPU_SETS if name in have) if flags else "instruction sets unknown"
    value = f"{cores()} cores; {sets or 'no vector instructions'}"
    if flags and not have & {"avx2", "asimd"}:
        return Finding("processor", value, "warn", "without AVX2 everything will be slow")
    return Finding("processor", value, "ok")


def kernels(torch: Any | str, base: Path) -> Finding:
    """What computes the layers of a GPTQ base here; on CUDA gptqmodel is asked for a base like the one in `base`."""
    name = "GPTQ kernels"
    if isinstance(torch, str) or not installed("gptqmodel") or not installed("optimum"):
        return Finding(
            name, "none: a GPTQ base cannot be loaded", "bad", "torch, gptqmodel and optimum must be installed"
        )
    if not torch.cuda.is_available():
        return Finding(name, "none on a CPU: 4-bit layers are dequantized once when loaded, values unchanged", "ok")
    settings = _settings(base).get("quantization_config", {})
    try:
        from rlaif.quiet import quiet

        with quiet():
            from gptqmodel.utils.importer import hf_select_quant_linear_v2

            kernel = hf_select_quant_linear_v2(
                bits=settings.get("bits", 4), group_size=settings.get("group_size", 128),
                desc_act=settings.get("desc_act", False),
                sym=settings.get("sym", True), format="gptq", quant_method="gptq", device_map={"": "cuda:0"},
                pack=False, backend="auto",
            )  # fmt: skip
    except Exception as error:  # whatever gptqmodel raises here, it is the answer
        return Finding(
            name,
            f"gptqmodel finds none: {type(error).__name__}: {error}",
            "bad",
            "install gptqmodel for this torch and CUDA",
        )
    return Finding(name, f"gptqmodel {kernel.__name__}", "ok")


def memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Memory that is free now, within the limit of the container where there is one."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text("utf-8").splitlines() if ":" in line)
        total, free = (int(lines[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return Finding("memory", "unknown on this system", "ok")
    try:
        limit, used = (int((cgroup / name).read_text("utf-8")) for name in ("memory.max", "memory.current"))
        total, free = min(total, limit), min(free, max(limit - used, 0))
    except (OSError, ValueError):  # no container, or "max": no limit
        pass
    little = free < LITTLE_MEMORY
    hint = f"the default profile needs about {LITTLE_MEMORY / 2**30:.0f} GiB; close something first" if little else ""
    return Finding("memory", f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f}", "warn" if little else "ok", hint)


def disk(folder: Path) -> Finding:
    """Free space and the right to write where `folder` lies, or would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding("disk", f"{place} cannot be written", "bad", "choose another folder with --run")
    free = shutil.disk_usage(place).free
    value = f"{free / 2**30:.1f} GiB free at {place}"
    if free < FREE_BYTES_NEEDED:
        return Finding("disk", value, "bad", f"the loop stops below {FREE_BYTES_NEEDED >> 20} MB: free some space")
    return Finding(
        "disk", value, "warn" if free < LITTLE_DISK else "ok", "little room for policies" if free < LITTLE_DISK else ""
    )


def _hub_here() -> Finding:
    try:
        from huggingface_hub import constants
    except ImportError:
        return Finding("hub", "huggingface_hub is not installed", "bad", "pip install huggingface_hub")
    return hub(constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE)


def hub(endpoint: str, *, offline: bool, patience: float = HUB_PATIENCE) -> Finding:
    """Does the hub at `endpoint` answer within `patience` seconds? Never bad: local files and the embedded base need no
    hub.
    """
    only_local = "only local files and the embedded base can be used"
    if offline:
        return Finding("hub", "not asked: HF_HUB_OFFLINE is set", "warn", only_local)
    if not endpoint.startswith(("https://", "http://")):
        return Finding("hub", f"HF_ENDPOINT {endpoint!r} is no http address", "warn", only_local)
    answer: list[str] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD", headers={"User-Agent": "rlaif-doctor"})
            with urllib.request.urlopen(request, timeout=patience):
                answer.append("")
        except urllib.error.HTTPError as error:  # it answered; only its own trouble counts
            answer.append("" if error.code < 500 else f"it answers with {error.code}")
        except (OSError, ValueError) as error:
            answer.append(str(getattr(error, "reason", "") or error) or type(error).__name__)

    # In a thread, because the timeout of urlopen does not cover looking up the name.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    trouble = answer[0] if answer else f"no answer in {patience:g} s"
    return (
        Finding("hub", f"{endpoint}: {trouble}", "warn", only_local)
        if trouble
        else Finding("hub", f"{endpoint} answers", "ok")
    )


def embedded_base(folder: Path) -> Finding:
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    if not (folder / "config.json").is_file() or not any(path.suffix == ".safetensors" for path in files):
        return Finding(
            "embedded base", "missing", "bad", "install rlaif again, or give a model folder with --set model.path=..."
        )
    return Finding("embedded base", f"{sum(path.stat().st_size for path in files) / 2**20:.1f} MB", "ok")


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def what_would_run(torch: Any | str, base: Path) -> list[Finding]:
    """How the default profile would load its base here, and on a GPU: the rules of `rlaif.models.base.load_base`."""
    from rlaif.config_file import load_config

    name, model = "default profile here", load_config().model
    if isinstance(torch, str) or not (base / "config.json").is_file():
        return [
            Finding(name, f"nothing: {'torch' if isinstance(torch, str) else 'the embedded base'} is missing", "bad")
        ]
    method = _settings(base).get("quantization_config", {}).get("quant_method", "")
    kind, four_bit = {"gptq": "GPTQ int4", "bitsandbytes": "NF4"}.get(method, method or "unquantized"), bool(method)
    cuda, automatic = torch.cuda.is_available(), "bfloat16 (float16 where the GPU lacks it)"
    if cuda:
        automatic = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    on_gpu = f"cuda, {automatic if model.dtype == 'auto' else model.dtype}, {kind} base" + (
        ", 4-bit layers kept, LoRA on them" if four_bit else ""
    )
    if cuda and model.device != "cpu":
        return [Finding(name, on_gpu, "ok")]
    on_cpu = f"cpu, {'float32' if model.dtype == 'auto' else model.dtype}, {kind} base" + (
        ", dequantized when loaded" if four_bit else ""
    )
    few = model.threads > cores()
    hint = f"more threads than cores is many times slower: --set model.threads={cores()}" if few else ""
    here = Finding(name, f"{on_cpu}, {model.threads or 'all'} threads", "warn" if few else "ok", hint)
    return [here, Finding("default profile on a GPU", on_gpu, "ok")]
