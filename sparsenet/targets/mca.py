"""Cycles of basic blocks by llvm-mca: what a core's pipeline needs for them, over and over, with every load in L1."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from sparsenet.targets.target import TargetError

# Before, LLVM lacks neoverse-n1's own model, or has an early one that nobody compared here.
_OLDEST = 22
_ITERATIONS = 200


def cycles(blocks: Sequence[tuple[str, ...]], triple: str, cpu: str) -> list[float]:
    """Cycles of one execution of each block, as the mean of 200 in a row.

    Args:
        blocks: instructions in hexadecimal, in the order of their bytes in memory.
        triple, cpu: LLVM's names, e.g. "aarch64" and "neoverse-n1".

    Raises:
        TargetError: no LLVM that is new enough, or it failed.
    """
    text = disassemble({instruction for block in blocks for instruction in block}, triple)
    lines = []
    for index, block in enumerate(blocks):
        lines += [f"# LLVM-MCA-BEGIN b{index}", *(text[instruction] for instruction in block), "# LLVM-MCA-END"]
    # A call's own latency: by default llvm-mca adds 100 cycles for the function, whose blocks are counted here.
    options = [f"-mtriple={triple}", f"-mcpu={cpu}", f"-iterations={_ITERATIONS}", "-call-latency=1", "-json"]
    text_in = "\n".join([*lines, ""])  # without the last line end llvm-mca misreads the line
    done = _run("llvm-mca", [*options, "-skip-unsupported-instructions=any"], text_in)
    if done.returncode != 0:
        raise TargetError(f"llvm-mca: {done.stderr.strip()[:500]}")
    regions = json.loads(done.stdout)["CodeRegions"]
    told = {of["Name"]: of["SummaryView"]["TotalCycles"] / _ITERATIONS for of in regions}
    return [told.get(f"b{index}", 0.0) for index in range(len(blocks))]  # none: nothing in it that mca models


def disassemble(instructions: Iterable[str], triple: str) -> dict[str, str]:
    """Assembly of each instruction; "" for one that LLVM does not know, such as the half that qemu shows of an x86
    instruction that straddles two pages."""
    words = sorted(instructions)
    # Brackets: one instruction to a group, so that an unknown one shifts nothing.
    code = "\n".join("[" + " ".join(f"0x{byte}" for byte in re.findall("..", word)) + "]" for word in words)
    options = ["-disassemble", f"-triple={triple}"] + (["-mattr=+all"] if triple == "aarch64" else [])
    done = _run("llvm-mc", options, code + "\n")
    unknown = {int(line) - 1 for line in re.findall(r"<stdin>:(\d+):\d+: warning: invalid instruction", done.stderr)}
    known = [word for index, word in enumerate(words) if index not in unknown]
    lines = [line.strip() for line in done.stdout.splitlines()]
    lines = [line for line in lines if line and not line.startswith(".")]
    if len(lines) != len(known):
        raise TargetError(f"llvm-mc: {len(lines)} of {len(known)} instructions: {done.stderr.strip()[:500]}")
    return dict.fromkeys(words, "") | dict(zip(known, lines, strict=True))


def _run(tool: str, options: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_find(tool), *options], input=text, capture_output=True, text=True, check=False)


def _find(tool: str) -> str:
    for name in (f"{tool}-{_OLDEST}", tool):
        if shutil.which(name):
            version = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
            found = re.search(r"LLVM version (\d+)", version)
            if found and int(found[1]) >= _OLDEST:
                return name
    raise TargetError(f"this needs {tool} of LLVM {_OLDEST} or later: apt install llvm-{_OLDEST}")
