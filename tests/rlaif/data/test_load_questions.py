import subprocess
import sys
from types import SimpleNamespace

from rlaif.data import load_questions
from rlaif.types import Question


def test_embedded_is_asked_by_name(monkeypatch):
    def load(benchmark):
        return [Question("id", f"{benchmark}_style", "gate", "s", "g", "Q?")]

    import rlaif.embedded

    fake = SimpleNamespace(load=load)
    monkeypatch.setitem(sys.modules, "rlaif.embedded.dataset", fake)
    monkeypatch.setattr(rlaif.embedded, "dataset", fake, raising=False)
    loaded = load_questions("medquad", "embedded")
    assert loaded.questions[0].dataset == "medquad_style"
    assert loaded.report == {"rows": 1, "questions": 1, "splits": {"gate": 1}} and len(loaded.data_sha256) == 64
    assert load_questions("pubmedqa", "embedded").data_sha256 != loaded.data_sha256


def test_importing_loads_nothing_heavy():
    code = "import sys, rlaif.data; print([m for m in ('pyarrow', 'datasets', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
