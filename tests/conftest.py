"""Makes `benchmarks`, which is not installed, importable; last on the path: what is installed is tested."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
