"""Pruning PyTorch networks: masks that survive training, by weights and by filters.

>>> from sparsenet import prune
>>> prune.magnitude(model, sparsity=0.9)      # the smallest 90 % of each layer's weights
>>> prune.filters(model, ratio=0.5)           # half of each convolution's filters
>>> train(model)                              # masked weights stay zero
"""

from sparsenet.prune.evaluate import evaluate
from sparsenet.prune.filters import filters
from sparsenet.prune.finetune import History, finetune
from sparsenet.prune.gradual import Gradual
from sparsenet.prune.magnitude import magnitude
from sparsenet.prune.masks import Mask, bake, mask_of, set_mask, sparsity
from sparsenet.prune.threshold import threshold

__all__ = [
    "Gradual",
    "History",
    "Mask",
    "bake",
    "evaluate",
    "filters",
    "finetune",
    "magnitude",
    "mask_of",
    "set_mask",
    "sparsity",
    "threshold",
]
