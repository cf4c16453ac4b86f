"""The bytes of an untrusted file -> ModelProto."""

from __future__ import annotations

import os
import stat

import onnx

from sparsenet.errors import FileFormatError, SparsenetIOError

MAX_BYTES = 2**31 - 1  # what protobuf allows


def read_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Reads one regular file. onnx.load would also open the files that the model names; this opens no other."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise FileFormatError(f"{os.fspath(path)}: not a regular file")
            if status.st_size > MAX_BYTES:
                raise FileFormatError(f"{os.fspath(path)}: {status.st_size:,} bytes; an ONNX file has less than 2 GiB")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SparsenetIOError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # google.protobuf's DecodeError; which class depends on its backend
        raise FileFormatError(f"{os.fspath(path)}: not an ONNX model: {' '.join(str(error).split())}") from None
    return model
