"""The simulated estimate: the plugin's counts against programs whose counts are known, llvm-mca, what is claimed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.arm.micro import row
from benchmarks.arm.micro import table as kernels_table
from benchmarks.arm.validate import Point, table
from benchmarks.markdown import put
from sparsenet.targets import TargetError
from sparsenet.targets.blocks import Caches, Counts, count
from sparsenet.targets.estimate import CORES, LABEL, estimate, mca_cycles
from sparsenet.targets.mca import cycles

ROOT = Path(__file__).parent.parent
ADD = "0000018b"  # add x0, x0, x1: its bytes as they stand in memory
CALL = "00000094"  # bl

# A run reads each of 2^17 numbers (1 MB, 2^14 lines) once, in a loop of a few instructions.
STREAM = """
#include <stdint.h>
#include <stdlib.h>
static volatile uint64_t data[1 << 17] __attribute__((aligned(64)));
int main(int argc, char** argv) {
  for (int run = atoi(argv[argc - 3]) + atoi(argv[argc - 1]); run > 0; --run) {
    for (register int i = 0; i < 1 << 17; ++i) data[i];
  }
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with plugin.so and stream."""
    if not shutil.which("cc") or not shutil.which("qemu-x86_64") or platform.machine() != "x86_64":
        pytest.skip("needs cc and qemu-x86_64 on x86-64")
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "stream.c").write_text(STREAM)
    warnings = ["-Wall", "-Wextra", "-Werror"]
    source = str(ROOT / "benchmarks/arm/plugin.c")
    subprocess.run(["cc", "-O2", *warnings, "-fPIC", "-shared", "-o", str(folder / "plugin.so"), source], check=True)
    subprocess.run(["cc", "-O1", "-o", str(folder / "stream"), str(folder / "stream.c")], check=True)
    probe = ["qemu-x86_64", "-plugin", f"{folder / 'plugin.so'},out={folder / 'probe'}", "/bin/true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("this qemu-x86_64 loads no plugins (static builds do not)")
    return folder


def test_a_stream_misses_once_a_line(built):
    found = count(["qemu-x86_64"], built / "plugin.so", Caches(32, 8, 256, 8), [str(built / "stream")])
    assert found.accesses == pytest.approx(1 << 17, rel=0.01)
    assert found.l1_misses == pytest.approx(1 << 14, rel=0.01)
    assert found.l2_misses == pytest.approx(1 << 14, rel=0.01)
    assert 2 << 17 < found.instructions < 8 << 17
    assert max(found.blocks.values()) == pytest.approx(1 << 17, rel=0.01)


def test_what_fits_a_cache_does_not_miss(built):
    found = count(["qemu-x86_64"], built / "plugin.so", Caches(32, 8, 2048, 16), [str(built / "stream")])
    assert found.l1_misses == pytest.approx(1 << 14, rel=0.01)
    assert found.l2_misses < 100


def test_bad_arguments_are_refused(built):
    with pytest.raises(TargetError, match="expected out=FILE"):
        count(["qemu-x86_64"], built / "plugin.so", Caches(32, 33, 256, 8), [str(built / "stream")])
    with pytest.raises(TargetError, match=r"cc -O2 -fPIC -shared .*plugin\.c"):
        count(["qemu-x86_64"], built / "none.so", Caches(32, 8, 256, 8), [str(built / "stream")])


def needs_llvm() -> None:
    if not shutil.which("llvm-mca-22"):
        pytest.skip("needs llvm-mca of LLVM 22: apt install llvm-22")


@pytest.mark.parametrize("cpu", ["cortex-a55", "neoverse-n1"])
def test_a_chain_of_additions_takes_a_cycle_each(cpu):
    needs_llvm()
    chain, twice = cycles([(ADD,) * 5, (ADD,) * 10], "aarch64", cpu)
    assert (chain, twice) == (pytest.approx(5, rel=0.05), pytest.approx(10, rel=0.05))
    assert cycles([("ffffffff", ADD)], "aarch64", cpu) == [pytest.approx(1, rel=0.05)]  # the unknown one is left out


@pytest.mark.parametrize("cpu", ["cortex-a55", "neoverse-n1"])
def test_a_call_costs_no_more_than_a_branch(cpu):
    """What the function takes is counted by its own blocks."""
    needs_llvm()
    [told] = cycles([(ADD,) * 5 + (CALL,)], "aarch64", cpu)
    assert 5 <= told < 8


def test_blocks_count_as_often_as_they_ran():
    needs_llvm()
    counts = Counts({(ADD,) * 4: 1000.0, (ADD,) * 8: 10.0}, 0, 0, 0)
    assert mca_cycles(counts, CORES["cortex-a55"]) == pytest.approx(4080, rel=0.05)
    assert counts.instructions == 4080


def test_estimate_of_a_real_layer(tmp_path):
    needs_llvm()
    runner = os.environ.get("SPARSENET_AARCH64_RUNNER", "")
    if not runner or not shutil.which("qemu-aarch64"):
        pytest.skip("needs qemu-aarch64 and SPARSENET_AARCH64_RUNNER, the path of a static sparsenet-run for aarch64")
    from benchmarks.layers import Conv

    plugin = tmp_path / "plugin.so"
    source = str(ROOT / "benchmarks/arm/plugin.c")
    subprocess.run(["cc", "-O2", "-fPIC", "-shared", "-o", str(plugin), source], check=True)
    found = []
    for zeros in (0.0, 0.9):
        Conv(16, 32, 1, 1, 14).build(zeros)[0].save(tmp_path / "net.snet")
        command = [runner, str(tmp_path / "net.snet"), "--tune", "0"]
        qemu = ["qemu-aarch64", "-cpu", "cortex-a76"]
        found.append(estimate(qemu, plugin, CORES["cortex-a55"], command))
    dense, sparse = found
    assert dense["label"] == LABEL == "simulated estimate (qemu + llvm-mca), never timed"
    # A dense 1x1 layer cannot do with fewer than a quarter instruction a multiply-add: four lanes.
    assert 16 * 32 * 14 * 14 / 4 < dense["instructions"] < 16 * 32 * 14 * 14
    assert dense["cycles"][0] == dense["mca_cycles"] <= dense["cycles"][1]
    assert sparse["cycles"][1] < dense["cycles"][0]


def test_the_table_counts_what_the_ranges_claim():
    points = [
        Point("a", 0.0, 90.0, 110.0, 100.0, "gemm_6x2_avx2"),
        Point("a", 0.5, 60.0, 80.0, 50.0, "spmm_1x1_r8_avx2"),  # below its range, yet rightly faster
        Point("a", 0.9, 61.0, 75.0, 49.0, "spmm_1x1_r8_avx2", 4),  # not apart from the one before
        Point("b", 0.0, 20.0, 21.0, 10.0, "gemm_6x2_avx2"),
        Point("b", 0.5, 15.0, 16.0, 12.0, "spmm_1x1_r8_avx2"),  # wrongly faster
    ]
    text = table(points)
    assert "| a | 0% | `gemm_6x2_avx2` | 100 | 90 to 110 | -10% | within |" in text
    assert "| a | 90%, 4x1 | `spmm_1x1_r8_avx2` | 49 | 61 to 75 | +24% | below |" in text
    assert "| gemm | 2 | 55% | -10% | +100% | 1 |" in text
    assert "| all | 5 | 24% | -10% | +100% | 1 |" in text
    assert "Of 4 pairs of variants of a layer the ranges are apart for 3, and say rightly which is faster" in text
    assert "faster for 2 of them" in text
    # Speed-ups: 1.5 for 2, 90/61 for 100/49, and 4/3 for 5/6, whose winner is the other.
    assert "by the lower ends: median error 28%, largest 60%; the winner wrong for 1 of 3." in text


def test_tables_go_between_their_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- t begins -->\nold\n<!-- t ends -->\nb\n")
    put(page, "t", "new")
    assert page.read_text() == "a\n<!-- t begins -->\nnew\n<!-- t ends -->\nb\n"
    with pytest.raises(ValueError, match="expected <!-- u begins -->"):
        put(page, "u", "new")
    page.write_text("<!-- t begins -->")
    with pytest.raises(ValueError, match="once each"):
        put(page, "t", "new")


def test_executed_instructions_are_sorted():
    """Half the FMAs here are useful; the block with most FMAs is the inner one."""
    needs_llvm()
    load, fma = "0000c03d", "20cc224e"  # ldr q0, [x0]; fmla v0.4s, v1.4s, v2.4s
    counts = Counts({(load, fma, fma): 10.0, (load, ADD): 5.0}, 0, 6.0, 0)
    found = row(counts, 10.0)
    assert (found.inner, found.loads, found.instructions) == ((2, 3, 1), 15.0, 40.0)
    assert found.inner_cycles[0] > 1  # two FMAs that need each other
    cells = kernels_table([("l", "0%", "k", found)]).splitlines()[-1].split(" | ")
    assert cells[:6] == ["| l", "0%", "`k`", "2", "1.50", "0.50"]
    assert cells[8:11] == ["4.00", "1.50", "0.60"]
