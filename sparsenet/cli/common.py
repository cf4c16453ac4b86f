"""What the subcommands share: errors, options, printing, progress, arrays in and out."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sparsenet import atomic
from sparsenet.arrays import FloatArray, TensorInfo


class CommandError(Exception):
    """The command cannot do it: one line for stderr, exit code 1."""


class UsageError(CommandError):
    """The command line itself is wrong: exit code 2."""


def positive_int(text: str) -> int:
    """argparse type: an integer >= 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """argparse type: a finite number > 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return value


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--threads, --isa, --no-tune, --backend."""
    parser.add_argument("--threads", type=positive_int, default=1, help="threads a call uses (default 1)")
    parser.add_argument("--isa", help="scalar, avx2, avx512 or neon (default: the best this CPU has)")
    parser.add_argument("--no-tune", action="store_true", help="choose kernels by the cost model, without timing them")
    parser.add_argument("--backend", default="cpp", choices=("cpp", "numba"), help="default cpp")


def engine_options(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of ``sparsenet.compile`` that ``add_engine_options`` parsed."""
    return {"threads": args.threads, "isa": args.isa, "tune": not args.no_tune, "backend": args.backend}


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """--input, --batch, --seed."""
    parser.add_argument("--input", metavar="FILE", type=Path, help=".npy (one input) or .npz (arrays by input name)")
    parser.add_argument("--batch", type=positive_int, default=None, help="batch size of random inputs (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of random inputs (default 0)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of tables")


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]] | np.ndarray[Any, Any]:
    """The array of a .npy, or the arrays of a .npz by name; never unpickles."""
    if path.suffix not in (".npy", ".npz"):
        raise UsageError(f"{path}: expected a .npy or .npz file")
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            return {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged file raises ValueError, EOFError, BadZipFile, zlib.error, ...
        raise CommandError(f"{path}: not a readable {path.suffix} file: {error}") from None


def make_inputs(args: argparse.Namespace, infos: Sequence[TensorInfo]) -> dict[str, FloatArray]:
    """The inputs by name: from --input, else normal noise from --seed. Numbers of other types become float32."""
    if args.input is None:
        rng = np.random.default_rng(args.seed)
        batch = args.batch or infos[0].shape[0] or 1
        return {info.name: rng.standard_normal((batch, *_sample(info)), np.float32) for info in infos}
    if args.batch is not None:
        raise UsageError("--batch is for random inputs; with --input the file says it")
    arrays = read_arrays(args.input)
    names = [info.name for info in infos]
    if isinstance(arrays, np.ndarray):
        if len(names) != 1:
            raise CommandError(f"{args.input}: the network has inputs {', '.join(names)}: give them in a .npz")
        arrays = {names[0]: arrays}
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CommandError(f"{args.input}: no array named {', '.join(missing)}; it holds {', '.join(arrays) or 'none'}")
    return {name: _as_float(arrays[name], f"{args.input}: {name}") for name in names}


def _sample(info: TensorInfo) -> list[int]:
    return [size for size in info.shape[1:] if size is not None]


def _as_float(array: np.ndarray[Any, Any], what: str) -> FloatArray:
    if array.dtype.kind not in "fiub":
        raise CommandError(f"{what}: expected numbers, got dtype {array.dtype}")
    return array.astype(np.float32, copy=False)


def as_tuple(result: Any) -> tuple[Any, ...]:
    """An engine's or a module's result as a tuple of outputs."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` to write; takes its place on success and is gone on any failure."""
    if path.is_dir():
        raise CommandError(f"{path}: is a directory")
    if not path.parent.is_dir():
        raise CommandError(f"{path}: no such directory: {path.parent}")
    with atomic.replacing(path) as temporary:
        yield temporary


def console(stderr: bool = False) -> Console:
    """Where results go: stdout, or stderr; as wide as they need when that is no terminal."""
    out = Console(stderr=stderr, highlight=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=200)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """A spinner on stderr while the body runs, if stderr is a terminal."""
    err = Console(stderr=True)
    if not err.is_terminal:
        yield
        return
    with err.status(escape(what)):
        yield


def print_json(value: Any) -> None:
    """``value`` as JSON; infinities and NaN, which JSON lacks, as strings."""
    json.dump(_finite(value), sys.stdout, indent=1)
    print()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str | None = None) -> Table:
    """A rich table; columns whose name begins with "<" are text, the others numbers set right."""
    result = Table(title=escape(title), caption=caption and escape(caption), title_justify="left")
    for name in columns:
        result.add_column(name.removeprefix("<"), justify="left" if name.startswith("<") else "right", overflow="fold")
    for row in rows:
        result.add_row(*(escape(str(cell)) for cell in row))
    return result
