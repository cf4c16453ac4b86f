"""What a Linux or Android machine tells of itself by its shell: CPU parts, governors, frequencies, temperatures."""

from __future__ import annotations

import re
from typing import Any

from sparsenet.targets.target import Target

# One grep reads many small files with one process, prints "path:line", and skips what is absent or forbidden.
_SCRIPT = """uname -m; uname -sr
(getprop ro.product.model || tr -d '\\0' < /proc/device-tree/model) 2>/dev/null || true
echo; echo ==cpuinfo; cat /proc/cpuinfo
echo ==sysfs
cd /sys/devices/system/cpu && grep -s . cpu[0-9]*/cpu_capacity cpu[0-9]*/cpufreq/scaling_governor \
  cpu[0-9]*/cpufreq/scaling_cur_freq cpu[0-9]*/cpufreq/scaling_max_freq cpu[0-9]*/cpufreq/cpuinfo_max_freq \
  online /dev/null
cd /sys/class/thermal && grep -s . thermal_zone*/type thermal_zone*/temp /dev/null
true"""

# MIDR: implementer, part. Arm's from the "Main ID Register" of each core's reference manual; others as their makers
# gave them to the kernel (arch/arm64/include/asm/cputype.h).
_PARTS = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x51, 0x802): "Kryo 385 Gold",
    (0x51, 0x803): "Kryo 385 Silver",
    (0x51, 0x804): "Kryo 485 Gold",
    (0x51, 0x805): "Kryo 485 Silver",
}


def facts(target: Target) -> dict[str, Any]:
    """The machine now.

    Returns:
        arch, kernel, device (if it has a name), cpus: {number: part, capacity, governor, frequencies in MHz}, and
        celsius: {zone: temperature}. What the system does not tell is left out.
    """
    return parse(target.shell(_SCRIPT))


def parse(text: str) -> dict[str, Any]:
    """`facts` from what the script printed."""
    head, _, rest = text.partition("==cpuinfo\n")
    cpuinfo, _, sysfs = rest.partition("==sysfs\n")
    lines = [line.strip() for line in head.splitlines()] + ["", "", ""]
    cpus = _cpus(cpuinfo)
    told: dict[str, Any] = {"arch": lines[0], "kernel": lines[1]} | ({"device": lines[2]} if lines[2] else {})
    zones: dict[str, dict[str, str]] = {}
    for line in sysfs.splitlines():
        name, _, value = line.partition(":")
        cpu, zone = re.fullmatch(r"cpu(\d+)/(?:cpufreq/)?(\w+)", name), re.fullmatch(r"(thermal_zone\d+)/(\w+)", name)
        if cpu:
            cpus.setdefault(int(cpu[1]), {}).update(_setting(cpu[2], value))
        elif zone:
            zones.setdefault(zone[1], {})[zone[2]] = value
        elif name == "online":
            told["online"] = value
    told["cpus"] = dict(sorted(cpus.items()))
    told["celsius"] = {
        f"{zone['type']} {name.removeprefix('thermal_zone')}": int(zone["temp"]) / 1000
        for name, zone in sorted(zones.items())
        if "type" in zone and re.fullmatch(r"-?\d+", zone.get("temp", ""))
    }
    return told


def _setting(name: str, value: str) -> dict[str, Any]:
    if name == "scaling_governor":
        return {"governor": value}
    if not value.isdecimal():
        return {}
    if name == "cpu_capacity":
        return {"capacity": int(value)}
    return {f"{name.removesuffix('_freq').removeprefix('scaling_')}_mhz": int(value) / 1000}


def _cpus(cpuinfo: str) -> dict[int, dict[str, Any]]:
    cpus: dict[int, dict[str, Any]] = {}
    for block in re.split(r"\n\s*\n", cpuinfo):
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if not fields.get("processor", "").isdecimal():
            continue
        part = fields.get("model name")
        if "CPU part" in fields:
            key = int(fields.get("CPU implementer", "0"), 0), int(fields["CPU part"], 0)
            part = _PARTS.get(key, f"implementer {key[0]:#x} part {key[1]:#x}")
        cpus[int(fields["processor"])] = {"part": part} if part else {}
    return cpus


def fastest_cpu(told: dict[str, Any], threads: int) -> int | None:
    """The first CPU of `threads` neighbours among which the slowest is the fastest: big cores before little ones.

    None where the machine does not tell which are big, or all are alike: there the system's scheduler chooses better.
    """
    cpus: dict[int, dict[str, Any]] = told["cpus"]
    speed: dict[int, float] = {}
    for cpu, of in cpus.items():
        speed[cpu] = of.get("capacity", of.get("cpuinfo_max_mhz", of.get("max_mhz", 0)))
    if 0 in speed.values() or len(set(speed.values())) < 2:
        return None
    starts = [cpu for cpu in speed if all(cpu + i in speed for i in range(threads))]
    if not starts:
        return None
    return max(starts, key=lambda cpu: (min(speed[cpu + i] for i in range(threads)), -cpu))


def warnings(before: dict[str, Any], after: dict[str, Any], used: list[int]) -> list[str]:
    """Why times from between the two may not hold: governors that wander, frequencies that fell, heat."""
    told = []
    for cpu in used:
        was, now = before["cpus"].get(cpu, {}), after["cpus"].get(cpu, {})
        governor = was.get("governor")
        if governor not in (None, "performance"):
            told.append(f"CPU {cpu}: governor {governor}: the frequency follows the load")
        for key, what in (("cur_mhz", "frequency"), ("max_mhz", "highest allowed frequency")):
            if key in was and key in now and now[key] < 0.95 * was[key]:
                told.append(f"CPU {cpu}: {what} fell from {was[key]:.0f} to {now[key]:.0f} MHz while measuring")
    for zone, celsius in after["celsius"].items():
        rise = celsius - before["celsius"].get(zone, celsius)
        if rise >= 10:  # a chip that warms this much in one measurement has not reached its steady state
            told.append(f"{zone}: {rise:.0f} degrees warmer, {celsius:.0f} C: a longer --cooldown may help")
    return told
