"""Size caps on what git tracks: no file over 512 KiB, no source file over 400 lines.

A longer source file must say why, in its first 20 lines, with a sentence that holds the words "long because".
"""

import subprocess
import sys
from pathlib import Path

MAX_BYTES = 512 * 1024
MAX_LINES = 400
SOURCE = {".py", ".pyi", ".c", ".h", ".cpp", ".inc", ".cmake", ".sh", ".toml"}

root = Path(__file__).parent.parent
tracked = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
problems = []
for name in filter(None, tracked.split("\0")):
    path = root / name
    if path.is_symlink() or not path.is_file():
        continue
    size = path.stat().st_size
    if size > MAX_BYTES:
        problems.append(f"{name}: {size} bytes, at most {MAX_BYTES} are allowed")
    if path.suffix in SOURCE:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_LINES and "long because" not in " ".join(lines[:20]).lower():
            problems.append(f"{name}: {len(lines)} lines; split it, or say in its head that it is long because ...")
print("\n".join(problems) or "size caps: every tracked file keeps them")
sys.exit(bool(problems))
