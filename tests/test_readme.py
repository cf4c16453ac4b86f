"""What README.md shows runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sparsenet.cli.app import parser

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    [snippet] = blocks("python")
    namespace: dict[str, object] = {}
    exec(snippet, namespace)
    assert tuple(namespace["y"].shape) == (1, 10)  # type: ignore[attr-defined]
    assert (tmp_path / "model.snet").stat().st_size < 0.25 * 4 * (64 * 3 * 9 + 64 * 64 * 9 + 640)
    assert "spmm" in capsys.readouterr().out


def test_the_command_lines_parse() -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("sparsenet ")]
    assert len(lines) >= 5
    for line in lines:
        parser().parse_args(shlex.split(line, comments=True)[1:])
