"""ONNX operators -> nodes of the IR: a table of converters (one file a subject), and the walk that applies it."""
