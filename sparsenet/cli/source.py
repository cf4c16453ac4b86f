"""Where a network comes from: a .snet or .onnx file, a .pt2 program, or a Python factory with a state_dict."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sparsenet
from sparsenet.cli.common import CommandError, UsageError, progress
from sparsenet.errors import SparsenetError

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Source:
    """A graph as imported (no pass has run), and the torch callable it came from; None for a .snet or .onnx file."""

    name: str
    graph: sparsenet.Graph
    module: Callable[..., Any] | None


def add_source(parser: argparse.ArgumentParser) -> None:
    """MODEL, --weights, --shape, --allow-pickle."""
    parser.add_argument("model", metavar="MODEL", help=".snet, .onnx, .pt2 (torch.export.save), or pkg.mod:factory")
    add_factory(parser)


def add_factory(parser: argparse.ArgumentParser) -> None:
    """What goes with pkg.mod:factory: --weights, --shape, --allow-pickle."""
    parser.add_argument("--weights", type=Path, help="state_dict for pkg.mod:factory, in .safetensors")
    parser.add_argument(
        "--shape",
        type=_shape,
        action="append",
        default=[],
        help="shape of an input of pkg.mod:factory, batch included, e.g. 1,3,224,224; once for each input. For an "
        ".onnx file only if that leaves sizes open",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="let --weights be a pickle checkpoint (.pt, .pth); read with torch's weights_only",
    )


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"expected sizes >= 1 like 1,3,224,224, got {text!r}")
    return shape


def load_source(args: argparse.Namespace) -> Source:
    """Reads or imports what the command line names."""
    name, suffix = args.model, Path(args.model).suffix
    is_file = suffix in (".snet", ".onnx", ".pt2")
    if is_file and (args.weights or (args.shape and suffix != ".onnx") or args.allow_pickle):
        raise UsageError(f"--weights, --shape and --allow-pickle go with pkg.mod:factory; {name} holds its own")
    if is_file and not Path(name).is_file():
        raise CommandError(f"{name}: no such file")
    with progress(f"reading {name}"):
        if suffix == ".snet":
            return Source(name, sparsenet.load(name), None)
        if suffix == ".onnx":
            return _from_onnx(name, args.shape)
        if suffix == ".pt2":
            return _from_program(name)
        if _FACTORY.fullmatch(name):
            return from_factory(args)
    if suffix in (".pt", ".pth", ".safetensors"):
        raise UsageError(f"{name} holds weights but no network: give pkg.mod:factory --weights {name} --shape ...")
    raise UsageError(f"{name}: expected a .snet, .onnx or .pt2 file, or pkg.mod:factory")


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise CommandError(f"this needs torch ({error}): pip install 'sparsenet[torch]'") from None


def _from_onnx(name: str, shapes: list[tuple[int, ...]]) -> Source:
    try:
        importlib.import_module("onnx")
    except ImportError as error:
        raise CommandError(f"this needs onnx ({error}): pip install 'sparsenet[onnx]'") from None
    return Source(name, sparsenet.from_onnx(name, shapes or None), None)


def _from_program(name: str) -> Source:
    torch = _torch()
    try:
        program = torch.export.load(name)
    except Exception as error:  # torch raises whatever its zip, JSON and schema layers do
        raise CommandError(f"{name}: torch.export.load cannot read it: {one_line(error)}") from None
    return Source(name, sparsenet.from_torch(program), program.module())


def from_factory(args: argparse.Namespace) -> Source:
    """What MODEL, a pkg.mod:factory, makes; it has been run once."""
    torch = _torch()
    module = load_module(args)
    example = tuple(torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in args.shape)
    try:
        with torch.no_grad():
            module(*example)
    except Exception as error:
        shapes = " ".join(str(list(shape)) for shape in args.shape)
        raise CommandError(f"{args.model} does not run on {shapes}: {one_line(error)}") from None
    return Source(args.model, sparsenet.from_torch(module, example), module)


def load_module(args: argparse.Namespace) -> Any:
    """The torch module that MODEL, a pkg.mod:factory, makes, with its --weights, in eval mode."""
    torch = _torch()
    if not _FACTORY.fullmatch(args.model):
        raise UsageError(f"{args.model}: expected pkg.mod:factory")
    if not args.shape:
        raise UsageError(f"{args.model}: which input shape? Add --shape, e.g. --shape 1,3,224,224")
    module = call_factory(args.model)
    if not isinstance(module, torch.nn.Module):
        raise CommandError(f"{args.model} returned {type(module).__name__}, not a torch.nn.Module")
    if args.weights is not None:
        _load_weights(module, args.weights, args.allow_pickle)
    elif args.allow_pickle:
        raise UsageError("--allow-pickle goes with --weights")
    return module.eval()


def call_factory(name: str) -> Any:
    """What pkg.mod:function returns; files of the working directory count."""
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: the user's own files are importable
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise CommandError(f"{name}: cannot import {module_name}: {one_line(error)}") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise CommandError(f"{name}: {module_name} has no {attribute}")
        found = getattr(found, part)
    if not callable(found):
        raise CommandError(f"{name} is a {type(found).__name__}, not a callable that returns a module")
    try:
        return found()
    except Exception as error:
        raise CommandError(f"{name}() raised {one_line(error)}") from None


def _load_weights(module: Any, path: Path, allow_pickle: bool) -> None:
    state = _read_state(path, allow_pickle)
    expected = module.state_dict()
    if not set(expected) <= set(state):
        state = bake_masks(state)
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    wrong = [
        f"{key} is {list(state[key].shape)}, expected {list(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    told = [f"missing {_some(missing)}"] * bool(missing) + [f"unknown {_some(extra)}"] * bool(extra)
    told += [_some(wrong)] * bool(wrong)
    if told:
        raise CommandError(f"{path} does not fit the network: {'; '.join(told)}")
    module.load_state_dict(state)


def _read_state(path: Path, allow_pickle: bool) -> dict[str, Any]:
    if not path.is_file():
        raise CommandError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            loader = importlib.import_module("safetensors.torch")
        except ImportError as error:
            raise CommandError(f"this needs safetensors ({error}): pip install 'sparsenet[torch]'") from None
        try:
            return dict(loader.load_file(path))
        except Exception as error:
            raise CommandError(f"{path}: not a readable safetensors file: {one_line(error)}") from None
    if path.suffix not in (".pt", ".pth", ".bin", ".ckpt"):
        raise UsageError(f"{path}: expected .safetensors, or .pt or .pth with --allow-pickle")
    if not allow_pickle:
        raise UsageError(f"{path} is a pickle, which can carry code: convert it to safetensors, or add --allow-pickle")
    try:
        state = _torch().load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CommandError(f"{path}: torch.load(weights_only=True) cannot read it: {one_line(error)}") from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(hasattr(value, "shape") for value in state.values()):
        raise CommandError(f"{path}: expected a state_dict (names to tensors), got {type(state).__name__}")
    return dict(state)


def bake_masks(state: Mapping[str, Any]) -> dict[str, Any]:
    """A pruned network's state_dict under the dense network's names, masks multiplied in.

    Knows torch.nn.utils.prune (``weight_orig``, ``weight_mask``) and sparsenet.prune's parametrizations
    (``parametrizations.weight.original``, ``parametrizations.weight.0.mask``).
    """
    baked: dict[str, Any] = {}
    for key, value in state.items():
        if key.endswith("_orig") and f"{key[:-5]}_mask" in state:
            baked[key[:-5]] = value * state[f"{key[:-5]}_mask"]
        elif key.endswith(".original") and f"{key[:-9]}.0.mask" in state:
            baked[key[:-9].replace("parametrizations.", "")] = value * state[f"{key[:-9]}.0.mask"]
        elif not key.endswith(("_mask", ".0.mask")):
            baked[key] = value
    return baked


def one_line(error: Exception) -> str:
    """An error of others' code in one line, with its type."""
    text = " ".join(str(error).split())
    if isinstance(error, SparsenetError):
        return text
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _some(items: list[str]) -> str:
    return ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")
