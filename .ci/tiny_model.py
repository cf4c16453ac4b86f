"""Writes a small .snet file, for programs that need one to run on: x[N, 3, 8, 8] -> y[N, 10]."""

import sys

import numpy as np

import sparsenet as sn

rng = np.random.default_rng(0)
graph = sn.Graph()
x = graph.add_input("x", (None, 3, 8, 8))
weight = rng.standard_normal((16, 3, 3, 3), np.float32)
weight[rng.random(weight.shape) < 0.8] = 0
w = graph.add_constant("w", weight)
conv = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "act": "relu"}
y = graph.add_node("Conv", [x, w], conv, "conv")
y = graph.add_node("AdaptiveAvgPool", [y], {"output": [1, 1]}, "pool")
y = graph.add_node("Reshape", [y], {"shape": [0, 16]}, "flat")
head = graph.add_constant("head", rng.standard_normal((10, 16), np.float32))
graph.set_outputs([graph.add_node("Linear", [y, head], {}, "y")])
graph.save(sys.argv[1])
