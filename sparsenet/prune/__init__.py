"""Pruning PyTorch networks: masks that survive training, by weights and by filters.

>>> from sparsenet import prune
>>> prune.magnitude(model, sparsity=0.9)      # the smallest 90 % of each layer's weights
>>> prune.filters(model, ratio=0.5)           # half of each convolution's filters
>>> train(model)                              # masked weights stay zero
"""

from sparsenet.prune.filters import filters
from sparsenet.prune.magnitude import magnitude
from sparsenet.prune.masks import Mask, bake, mask_of, set_mask, sparsity

__all__ = ["Mask", "bake", "filters", "magnitude", "mask_of", "set_mask", "sparsity"]
