"""The ONNX form of a graph as it stands, under the name that the benchmarks know."""

from sparsenet.onnx_export import to_model as to_onnx

__all__ = ["to_onnx"]
