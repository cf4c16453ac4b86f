"""An aarch64 core without one: qemu's user-mode emulator on this machine. It computes; its times mean nothing."""

from __future__ import annotations

from sparsenet.targets.local import Local
from sparsenet.targets.target import TargetError, call, program

# Cores, and the qemu model with the same instructions: older qemu has no A55, and A76 is ARMv8.2 with the same dot
# product and half floats.
CORES = {"cortex-a53": ("cortex-a53",), "cortex-a55": ("cortex-a55", "cortex-a76"), "cortex-a76": ("cortex-a76",)}


class Qemu(Local):
    """`--target qemu:cortex-a53|cortex-a55|cortex-a76`."""

    def __init__(self, core: str) -> None:
        if core not in CORES:
            raise TargetError(f"target 'qemu:{core}': expected one of {', '.join(CORES)}")
        qemu = program("qemu-aarch64", "qemu-user")
        known = call(qemu, ["sh", "-c", f"{qemu} -cpu help; true"]).split()  # qemu 7.2 lists them and exits with 1
        models = [model for model in CORES[core] if model in known]
        if not models:
            raise TargetError(f"target 'qemu:{core}': this qemu-aarch64 emulates no {' or '.join(CORES[core])}")
        super().__init__(f"qemu:{core}", (qemu, "-cpu", models[0]))
        self.core = core
