"""What is read out of a device's /proc and /sys, and what is concluded from it."""

from __future__ import annotations

import copy

from sparsenet.targets.facts import facts, fastest_cpu, parse, warnings
from sparsenet.targets.local import Local

# As a phone with four little, three big and one prime core prints it.
PHONE = "aarch64\nLinux 4.14.190\nPixel\n\n==cpuinfo\nProcessor\t: AArch64\n" + "".join(
    f"processor\t: {cpu}\nBogoMIPS\t: 38.40\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n"
    for cpu, part in enumerate(["0xd05"] * 4 + ["0xd0b"] * 3 + ["0xfff"])
) + "==sysfs\n" + "".join(
    f"cpu{cpu}/cpu_capacity:{capacity}\ncpu{cpu}/cpufreq/scaling_governor:schedutil\n"
    f"cpu{cpu}/cpufreq/scaling_cur_freq:1800000\ncpu{cpu}/cpufreq/scaling_max_freq:2400000\n"
    for cpu, capacity in enumerate([180] * 4 + [800] * 3 + [1024])
) + "online:0-7\nthermal_zone0/type:cpu-0\nthermal_zone0/temp:41500\nthermal_zone1/type:off\nthermal_zone1/temp:\n"


def test_a_phone():
    told = parse(PHONE)
    assert (told["arch"], told["kernel"], told["device"]) == ("aarch64", "Linux 4.14.190", "Pixel")
    assert told["online"] == "0-7"
    assert [told["cpus"][cpu]["part"] for cpu in (0, 4, 7)] == [
        "Cortex-A55", "Cortex-A76", "implementer 0x41 part 0xfff"
    ]
    assert told["cpus"][5]["cur_mhz"] == 1800
    assert told["celsius"] == {"cpu-0 0": 41.5}


def test_big_cores_come_first():
    told = parse(PHONE)
    assert [fastest_cpu(told, threads) for threads in (1, 2, 3, 4, 8, 9)] == [7, 4, 4, 4, 0, None]
    for cpu in told["cpus"].values():
        cpu["capacity"] = 512
    assert fastest_cpu(told, 1) is None  # all alike


def test_what_makes_times_doubtful_is_told():
    before = parse(PHONE)
    assert warnings(before, before, [7]) == ["CPU 7: governor schedutil: the frequency follows the load"]
    after = copy.deepcopy(before)
    after["cpus"][7]["cur_mhz"] = 1200
    after["celsius"]["cpu-0 0"] = 63.0
    told = warnings(before, after, [7])
    assert "CPU 7: frequency fell from 1800 to 1200 MHz while measuring" in told
    assert any("cpu-0 0: 22 degrees warmer" in line or "cpu-0 0: 21 degrees warmer" in line for line in told)
    for told_of in (before, after):
        told_of["cpus"][7]["governor"] = "performance"
    assert not any("governor" in line for line in warnings(before, after, [7]))


def test_this_machine():
    told = facts(Local())
    assert told["cpus"]
    assert all(of.get("part") for of in told["cpus"].values())
