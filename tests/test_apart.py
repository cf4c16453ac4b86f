"""Calls in a process of their own: results, exceptions, crashes, who is blamed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sparsenet import apart
from sparsenet.errors import ShapeError


def product(a: np.ndarray, b: float) -> np.ndarray:
    print("a library that talks")
    return a * b


def refuse() -> None:
    raise ShapeError("a: expected 3 rows, got 4")


def end(how: str) -> None:
    apart.at("ours", "timed")
    apart.at("a peer, with spaces", "prepared")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit("no licence")
    time.sleep(60)


def survive(names: Sequence[str], log: Path) -> list[str]:
    for name in names:
        apart.at(name, "timed")
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{name} ")
        if name in ("second", "fourth"):
            os.abort()
    return list(names)


def test_what_it_returns_and_raises() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(apart.call(product, a, 2.0, patience=60), 2 * a)
    with pytest.raises(ShapeError, match="expected 3 rows"):
        apart.call(refuse, patience=60)


@pytest.mark.parametrize(("how", "reason"), [("kill", "crashed (SIGKILL)"), ("exit", "no licence")])
def test_who_was_at_work_when_it_ended(how: str, reason: str) -> None:
    with pytest.raises(apart.Died) as caught:
        apart.call(end, how, patience=60)
    assert caught.value.name == "a peer, with spaces"
    assert caught.value.reason == f"{reason} while prepared"


def test_one_that_hangs_is_ended() -> None:
    start = time.perf_counter()
    with pytest.raises(apart.Died, match="took more than 1 s while"):
        apart.call(end, "hang", patience=1)
    assert time.perf_counter() - start < 50


def test_the_others_go_on_without_those_that_end_it(tmp_path: Path) -> None:
    names = ["first", "second", "third", "fourth"]
    left, ended = apart.call_peers(survive, names, tmp_path / "log", patience=60)
    assert left == ["first", "third"]
    assert ended == dict.fromkeys(("second", "fourth"), "crashed (SIGABRT) while timed")
    assert (tmp_path / "log").read_text().split() == ["first", "second", "first", "third", "fourth", "first", "third"]
    with pytest.raises(apart.Died, match=r"a peer, with spaces: crashed \(SIGKILL\) while prepared"):
        apart.call_peers(killed, [], patience=60)


def killed(names: Sequence[str]) -> None:
    end("kill")


def test_another_sparsenet_on_the_path_does_not_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sparsenet").mkdir()
    (tmp_path / "sparsenet" / "__init__.py").write_text("raise ImportError('not this one')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert apart.call(os.path.basename, "a/b", patience=120) == "b"
