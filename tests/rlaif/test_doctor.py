import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlaif import doctor
from rlaif.run import FREE_BYTES_NEEDED


def fake_torch(cuda: bool = False, bf16: bool = True, built_for: str | None = None) -> SimpleNamespace:
    properties = SimpleNamespace(name="Toy GPU", total_memory=16 * 2**30, major=8, minor=6)
    return SimpleNamespace(
        cuda=SimpleNamespace(
            is_available=lambda: cuda,
            is_bf16_supported=lambda: bf16,
            get_device_properties=lambda index: properties,
            device_count=lambda: 2,
        ),
        version=SimpleNamespace(cuda=built_for),
        get_num_threads=lambda: 2,
    )


@pytest.fixture
def gptq_base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    (base / "model.safetensors").write_bytes(b"x" * 2**20)
    return base


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """Answers HEAD /<code> with that code."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(int(self.path[1:] or 200))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_tested_versions_reads_pins_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text(
        "# tested\ntorch==2.13.0\nHuggingface_Hub == 2.4.0 ; python_version > "
        "'3'\nnumpy>=2\n--extra-index-url x\nrich==15.0.0 # why\n"
    )
    assert doctor.tested_versions(path) == {"torch": "2.13.0", "huggingface-hub": "2.4.0", "rich": "15.0.0"}
    assert doctor.tested_versions(tmp_path / "none.txt") == {}


def test_package_versions_say_what_differs_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"torch": "2.13.0+cpu", "transformers": "5.17.0", "trl": "", "bitsandbytes": "", "peft": "1.0"}
    monkeypatch.setattr(doctor, "installed", lambda package: have.get(package, "1.0"))
    found = {f.name: f for f in doctor.package_versions({"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0"})}
    assert found["torch"] == doctor.Finding("torch", "2.13.0+cpu", "ok")
    assert (found["transformers"].level, found["transformers"].hint) == ("warn", "tested with 5.23.0")
    assert (found["trl"].level, found["trl"].hint) == ("bad", "pip install trl==1.16.0")
    assert found["bitsandbytes"].level == "warn" and "NF4" in found["bitsandbytes"].hint
    assert found["peft"] == doctor.Finding("peft", "1.0", "ok")


def test_device_on_cpu_on_cuda_and_without_torch() -> None:
    assert doctor.device(fake_torch()) == doctor.Finding("device", "cpu, 2 torch threads", "ok")
    no_gpu = doctor.device(fake_torch(built_for="12.8"))
    assert no_gpu.level == "warn" and "driver" in no_gpu.hint
    gpu = doctor.device(fake_torch(cuda=True))
    assert gpu.value == "cuda: Toy GPU, 16.0 GiB, compute capability 8.6, the first of 2 (one is used)"
    assert doctor.device("ImportError: no").level == "bad"


def test_processor_reads_instruction_sets(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nflags\t\t: fpu sse avx2 avx512f avx512_bf16\n")
    assert doctor.processor(info).value.endswith("cores; AVX2, AVX512F, AVX512_BF16")
    info.write_text("flags : fpu sse\n")
    assert doctor.processor(info).level == "warn"
    assert "unknown" in doctor.processor(tmp_path / "none").value


def test_memory_is_bounded_by_the_container(tmp_path: Path) -> None:
    info = tmp_path / "meminfo"
    info.write_text(f"MemTotal: {16 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n")
    assert doctor.memory(info, tmp_path) == doctor.Finding("memory", "8.0 GiB free of 16.0", "ok")
    (tmp_path / "memory.max").write_text(f"{4 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{3 * 2**30}\n")
    small = doctor.memory(info, tmp_path)
    assert (small.value, small.level) == ("1.0 GiB free of 4.0", "warn")
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor.memory(info, tmp_path).value == "8.0 GiB free of 16.0"


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = FREE_BYTES_NEEDED
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    finding = doctor.disk(tmp_path / "runs" / "default")
    assert finding.value.endswith(f"free at {tmp_path}") and finding.level == "warn"
    free -= 1
    assert doctor.disk(tmp_path).level == "bad"
    (tmp_path / "file").write_text("")
    assert "cannot be written" in doctor.disk(tmp_path / "file").value


def test_hub_that_answers_even_with_not_found(server: HTTPServer) -> None:
    address = f"http://127.0.0.1:{server.server_port}"
    assert doctor.hub(address, offline=False).level == "ok"
    assert doctor.hub(f"{address}/404", offline=False).level == "ok"
    broken = doctor.hub(f"{address}/503", offline=False)
    assert broken.level == "warn" and "503" in broken.value


def test_hub_out_of_reach_is_a_warning() -> None:
    with socket.socket() as silent:  # listens, never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        waiting = doctor.hub(address, offline=False, patience=0.05)
    refused = doctor.hub(address, offline=False)
    assert waiting.level == refused.level == "warn"
    assert "only local files" in refused.hint


def test_hub_does_not_wait_for_a_slow_name_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    released, finished = threading.Event(), threading.Event()

    def lookup(*args: object, **kwargs: object) -> None:
        released.wait(10)
        finished.set()
        raise OSError("too late")

    monkeypatch.setattr("urllib.request.urlopen", lookup)
    finding = doctor.hub("https://hub.invalid", offline=False, patience=0.01)
    assert not finished.is_set() and "no answer" in finding.value
    released.set()


def test_hub_is_not_asked_when_offline_or_at_a_strange_address() -> None:
    assert "HF_HUB_OFFLINE" in doctor.hub("http://127.0.0.1:1", offline=True).value
    assert "no http address" in doctor.hub("file:///etc/hostname", offline=False).value


def test_embedded_base_present_and_missing(gptq_base: Path, tmp_path: Path) -> None:
    assert doctor.embedded_base(gptq_base) == doctor.Finding("embedded base", "1.0 MB", "ok")
    (gptq_base / "model.safetensors").unlink()
    assert doctor.embedded_base(gptq_base).level == doctor.embedded_base(tmp_path / "none").level == "bad"


def test_what_would_run_follows_the_loading_rules(gptq_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cores", lambda: 8)
    here, gpu = doctor.what_would_run(fake_torch(), gptq_base)
    assert here.value == "cpu, float32, GPTQ int4 base, dequantized when loaded, 2 threads"
    assert gpu.value.startswith("cuda, bfloat16 (float16")
    (old_gpu,) = doctor.what_would_run(fake_torch(cuda=True, bf16=False), gptq_base)
    assert old_gpu.value == "cuda, float16, GPTQ int4 base, 4-bit layers kept, LoRA on them"
    monkeypatch.setattr(doctor, "cores", lambda: 1)
    assert doctor.what_would_run(fake_torch(), gptq_base)[0].level == "warn"
    assert "torch is missing" in doctor.what_would_run("ImportError", gptq_base)[0].value
    assert "base is missing" in doctor.what_would_run(fake_torch(), gptq_base / "no")[0].value


def test_gptq_kernels_on_a_cpu_and_without_the_library(gptq_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda package: "1.0")
    assert "dequantized" in doctor.kernels(fake_torch(), gptq_base).value
    monkeypatch.setattr(doctor, "installed", lambda package: "" if package == "gptqmodel" else "1.0")
    assert doctor.kernels(fake_torch(), gptq_base).level == "bad"


def test_report_goes_on_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda: "ImportError: no torch")
    monkeypatch.setattr(doctor, "_hub_here", lambda: doctor.hub("", offline=True))
    findings = {f.name: f for f in doctor.report(tmp_path)}
    assert findings["device"].level == findings["default profile here"].level == "bad"
    assert {"python", "torch", "processor", "GPTQ kernels", "memory", "disk", "hub", "embedded base"} <= set(findings)
