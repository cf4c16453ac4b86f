"""A sparsenet graph as an ONNX model, dense weights and all, so that any ONNX engine runs the same network."""

from sparsenet.onnx_export.model import to_model

__all__ = ["to_model"]
