"""How many bytes a pruned, shared or quantised model takes in a file, counted bit by bit."""

from __future__ import annotations

import copy
import heapq
import math
from dataclasses import dataclass

import torch
from torch import nn

from sparsenet.prune.layout import to_matrix
from sparsenet.prune.masks import bake, weight_of, weighted
from sparsenet.prune.quantize import Binary, Ternary
from sparsenet.prune.sharing import Shared, parametrization_of


@dataclass(frozen=True)
class LayerSize:
    """Bits of one layer's weight: of the values (or their numbers), of positions, of codebook or scales."""

    layer: str
    values: int
    positions: int
    codebook: int
    huffman: int  # values and positions together, Huffman coded, with the codes' tables

    @property
    def bits(self) -> int:
        return self.values + self.positions + self.codebook


@dataclass(frozen=True)
class CompressedSize:
    """Bytes of a model; ``rest`` are biases, batch norms and other fp32 tensors."""

    layers: tuple[LayerSize, ...]
    rest: int
    dense: int  # everything as fp32

    @property
    def bytes(self) -> int:
        return self.rest + math.ceil(sum(layer.bits for layer in self.layers) / 8)

    @property
    def huffman_bytes(self) -> int:
        """The same with values and positions Huffman coded (Deep Compression, section 4)."""
        return self.rest + math.ceil(sum(layer.huffman + layer.codebook for layer in self.layers) / 8)

    @property
    def ratio(self) -> float:
        """Dense fp32 bytes over :attr:`bytes`."""
        return self.dense / self.bytes


@torch.no_grad()
def compressed_size(model: nn.Module, index_bits: int | None = None) -> CompressedSize:
    """The size of a model stored as in Deep Compression; an estimate of a format, which .snet is not.

    Han et al. 2016, section 2: nonzeros are stored with the number of zeros since the last one, in ``index_bits`` bits;
    where the gap is too long a zero is stored in between. Values are fp32, or the number of an entry in the codebook of
    :func:`share_weights`, or a sign. A layer that is smaller without positions is counted that way.

    Args:
        model: pruned, shared, binary, ternary or none of it, layer by layer.
        index_bits: of a gap; None: the paper's 8 for convolutions and 5 for linear layers.

    Raises:
        ValueError: index_bits below 1.

    Example:
        >>> size = prune.compressed_size(prune.share_weights(prune.magnitude(model, 0.9), bits=5))
        >>> size.bytes, size.ratio, size.huffman_bytes
    """
    if index_bits is not None and index_bits < 1:
        raise ValueError(f"index_bits is a number of bits, at least 1, not {index_bits}")
    layers = weighted(model)
    sizes = []
    for name, module in layers:
        sizes.append(_layer_size(name, module, index_bits or (5 if isinstance(module, nn.Linear) else 8)))
    # Without what parametrizations keep underneath and beside the weights.
    plain = bake(copy.deepcopy(model)).state_dict().values()
    total = sum(tensor.numel() for tensor in plain if tensor.is_floating_point())
    weights = sum(weight_of(module).numel() for _, module in layers)
    return CompressedSize(tuple(sizes), 4 * (total - weights), 4 * total)


def _layer_size(name: str, module: nn.Module, gap_bits: int) -> LayerSize:
    weight = to_matrix(module, weight_of(module)).flatten()
    symbols, width, codebook = _symbols(module, weight)
    at = torch.nonzero(weight).flatten()
    gaps = torch.diff(at, prepend=at.new_full((1,), -1)) - 1
    padding = gaps >> gap_bits  # zeros stored in between, each after 2**gap_bits - 1 others
    entries = len(at) + int(padding.sum())
    # Without positions, a zero is one more symbol, unless the width is that of a float.
    zeros = len(at) < len(weight)
    plain = len(weight) * (width if width == 32 or not zeros else math.ceil(math.log2(2**width + 1)))
    sparse = entries * (width + gap_bits)
    if plain <= sparse:
        coded = plain if width == 32 else _huffman(torch.bincount(symbols))
        return LayerSize(name, plain, 0, codebook, min(coded, plain))
    counts = torch.bincount(gaps & (2**gap_bits - 1), minlength=2**gap_bits)
    counts[-1] += entries - len(at)
    used = torch.bincount(symbols)
    used[0] = entries - len(at)
    values = entries * 32 if width == 32 else _huffman(used)
    return LayerSize(name, entries * width, entries * gap_bits, codebook, min(values + _huffman(counts), sparse))


def _symbols(module: nn.Module, weight: torch.Tensor) -> tuple[torch.Tensor, int, int]:
    """(a number for each weight, 0 for zeros; bits of a nonzero one; bits of codebook or scales)."""
    shared = parametrization_of(module, Shared)
    if isinstance(shared, Shared):
        index = to_matrix(module, shared.index).flatten().long()
        return index * (weight != 0), max(1, math.ceil(math.log2(max(shared.entries, 1)))), 32 * shared.entries
    signs = (weight > 0).long() + 2 * (weight < 0).long()
    if parametrization_of(module, Binary) is not None:
        return signs, 1, 32 * weight_of(module).shape[0]
    if parametrization_of(module, Ternary) is not None:
        return signs, 1, 32
    return signs, 32, 0


def _huffman(counts: torch.Tensor) -> int:
    """Bits of a message whose symbols occur so often, Huffman coded, and of its table: 8 bits of length a symbol."""
    heap = [int(count) for count in counts if count > 0]
    table = 8 * len(heap)
    if len(heap) == 1:
        return heap[0] + table
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        bits += merged
        heapq.heappush(heap, merged)
    return bits + table
