"""Benchmarks, peers and the network definitions they and the tests share."""

import sys
from pathlib import Path

# `python -m benchmarks.x` puts the checkout first on the path, where sparsenet/ has no compiled core beside it: moved
# to the end, so that what is installed is what is measured.
_root = Path(__file__).resolve().parent.parent
sys.path[:] = [*(entry for entry in sys.path if Path(entry or ".").resolve() != _root), str(_root)]
