"""sparsenet-run and examples/embed.c, built as a user builds them: a C compiler, sparsenet.h and libsparsenet.so."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from sparsenet import _core

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Both programs, a model and its input."""
    folder = tmp_path_factory.mktemp("tools")
    places = Path(sn.__file__).parent, Path(_core.__file__).resolve().parent
    built = next(place for place in places if (place / "libsparsenet.so").exists())
    for name, source in (("run", "csrc/tools/sparsenet_run.c"), ("embed", "examples/embed.c")):
        compiler = ["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc/include'}"]
        linker = [f"-L{built}", "-lsparsenet", "-lm", f"-Wl,-rpath,{built}", "-o", str(folder / name)]
        subprocess.run([*compiler, str(ROOT / source), *linker], check=True)
    rng = np.random.default_rng(3)
    graph = sn.Graph()
    x = graph.add_input("x", (None, 20))
    w = np.where(rng.random((7, 20)) < 0.4, rng.standard_normal((7, 20)), 0).astype(np.float32)
    graph.set_outputs([graph.add_node("Linear", [x, graph.add_constant("w", w)], {}, name="y")])
    graph.save(folder / "net.snet")
    rng.standard_normal((3, 20)).astype(np.float32).tofile(folder / "x.f32")
    return folder


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / program), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_embed_prints_the_best_class(folder):
    x = np.fromfile(folder / "x.f32", np.float32)[:20].reshape(1, 20)
    x.tofile(folder / "one.f32")
    y = sn.compile(folder / "net.snet", tune=False)(x)[0]
    done = run(folder, "embed", "net.snet", "one.f32")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["class", f"{y.argmax()},"]
    assert float(done.stdout.split()[-1]) == pytest.approx(y.max(), rel=1e-4)
    assert run(folder, "embed").returncode == 2
    missing = run(folder, "embed", "none.snet")
    assert (missing.returncode, "No such file" in missing.stderr) == (1, True)


def test_run_computes_and_times(folder):
    done = run(folder, "run", "net.snet", "--batch", "3", "--input", "x.f32", "--output", "y.f32", "--json", "--repeat",
               "20", "--warmup", "1", "--threads", "2", "--isa", "scalar", "--tune", "0")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["inputs"] == [{"name": "x", "dims": [-1, 20]}]
    assert report["outputs"] == [{"name": "y", "dims": [-1, 7]}]
    assert [report[k] for k in ("isa", "threads", "batch", "repeat", "warmup")] == ["scalar", 2, 3, 20, 1]
    assert 0 < report["p10_ms"] <= report["median_ms"] <= report["p99_ms"]
    engine = sn.compile(folder / "net.snet", tune=False, isa="scalar", batch=3)
    want = engine(np.fromfile(folder / "x.f32", np.float32).reshape(3, 20))
    assert (folder / "y.f32").read_bytes() == want.tobytes()
    assert not (folder / "y.f32.tmp").exists()


def test_run_is_reproducible_and_readable(folder):
    results = []
    for seed in ("1", "1", "2"):
        done = run(folder, "run", "net.snet", "--seed", seed, "--output", "z.f32", "--repeat", "3", "--tune", "0")
        assert done.returncode == 0, done.stderr
        assert "x[N, 20] -> y[N, 7]" in done.stdout
        assert "median" in done.stdout
        results.append((folder / "z.f32").read_bytes())
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "usage:"),
        (["--bogus", "1", "net.snet"], 2, "unknown option --bogus"),
        (["net.snet", "--threads"], 2, "--threads"),
        (["net.snet", "--threads", "0"], 2, "--threads 0: expected a whole number from 1"),
        (["net.snet", "--repeat", "12x"], 2, "--repeat 12x"),
        (["net.snet", "--tune", "nan"], 2, "--tune nan"),
        (["net.snet", "other.snet"], 2, "expected one model"),
        (["none.snet"], 1, "cannot open 'none.snet': No such file"),
        (["x.f32"], 1, "x.f32: "),
        (["net.snet", "--isa", "vax"], 1, "isa=vax"),
        (["net.snet", "--input", "x.f32"], 1, "x.f32: expected exactly 20 float32 (80 bytes)"),
        (["net.snet", "--input", "none.f32"], 1, "none.f32: No such file"),
        (["net.snet", "--input", "x.f32", "--input", "x.f32"], 2, "2 --input files for a network with 1"),
        (["net.snet", "--output", "no/y.f32", "--repeat", "1"], 1, "no/y.f32.tmp: No such file"),
        (["net.snet", "--affinity", "1000"], 1, "--affinity 1000"),
    ],
)
def test_run_says_what_is_wrong(folder, arguments, code, message):
    done = run(folder, "run", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == ""
