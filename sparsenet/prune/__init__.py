"""Pruning PyTorch networks: masks that survive training, by weights and by filters.

>>> from sparsenet import prune
>>> prune.magnitude(model, sparsity=0.9)      # the smallest 90 % of each layer's weights
>>> prune.filters(model, ratio=0.5)           # half of each convolution's filters
>>> train(model)                              # masked weights stay zero
"""

from sparsenet.prune.agent import LayerRecord, PruningAgent, learn_filters
from sparsenet.prune.blocks import blocks
from sparsenet.prune.budget import Budget, to_bytes, to_flops, to_latency, to_parameters
from sparsenet.prune.cost import macs, parameters
from sparsenet.prune.distribution import erk, uniform
from sparsenet.prune.evaluate import evaluate
from sparsenet.prune.filters import filters
from sparsenet.prune.finetune import History, finetune
from sparsenet.prune.gradual import Gradual
from sparsenet.prune.groups import Group, groups
from sparsenet.prune.iterative import Round, iterative, retraining_dropout
from sparsenet.prune.latency import measure_latency
from sparsenet.prune.lottery import Lottery, TicketRound, lottery_ticket
from sparsenet.prune.lottery_controls import random_mask, random_reinit
from sparsenet.prune.lowrank import low_rank
from sparsenet.prune.magnitude import magnitude
from sparsenet.prune.masks import Mask, bake, load_masked, mask_of, set_mask, sparsity
from sparsenet.prune.nm import n_m
from sparsenet.prune.quantize import binarize, ternarize
from sparsenet.prune.random_ import random
from sparsenet.prune.scratch import from_scratch
from sparsenet.prune.sensitivity import Sensitivity, sensitivity
from sparsenet.prune.sharing import share_weights
from sparsenet.prune.sharing_size import CompressedSize, compressed_size
from sparsenet.prune.shrink import shrink
from sparsenet.prune.slimming import Slimming
from sparsenet.prune.summary import Summary, summary
from sparsenet.prune.threshold import threshold
from sparsenet.prune.units import units

__all__ = [
    "Budget",
    "CompressedSize",
    "Gradual",
    "Group",
    "History",
    "LayerRecord",
    "Lottery",
    "Mask",
    "PruningAgent",
    "Round",
    "Sensitivity",
    "Slimming",
    "Summary",
    "TicketRound",
    "bake",
    "binarize",
    "blocks",
    "compressed_size",
    "erk",
    "evaluate",
    "filters",
    "finetune",
    "from_scratch",
    "groups",
    "iterative",
    "learn_filters",
    "load_masked",
    "lottery_ticket",
    "low_rank",
    "macs",
    "magnitude",
    "mask_of",
    "measure_latency",
    "n_m",
    "parameters",
    "random",
    "random_mask",
    "random_reinit",
    "retraining_dropout",
    "sensitivity",
    "set_mask",
    "share_weights",
    "shrink",
    "sparsity",
    "summary",
    "ternarize",
    "threshold",
    "to_bytes",
    "to_flops",
    "to_latency",
    "to_parameters",
    "uniform",
    "units",
]
