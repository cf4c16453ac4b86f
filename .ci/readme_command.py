"""Prints a command line of README.md, so that what it promises and what CI runs cannot drift apart.

    python3 .ci/readme_command.py test

finds the code block that follows the line `<!-- command: test -->`, which must hold exactly one line.
"""

import re
import sys
from pathlib import Path

name = sys.argv[1]
readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
blocks = re.findall(rf"<!-- command: {re.escape(name)} -->\s*```\w*\n(.*?)```", readme, re.DOTALL)
if len(blocks) != 1 or len(blocks[0].strip().splitlines()) != 1:
    sys.exit(f"README.md: expected one one-line code block after '<!-- command: {name} -->', found {blocks}")
print(blocks[0].strip())
