"""``python -m sparsenet``: the same as the ``sparsenet`` command."""

from sparsenet.cli import main

raise SystemExit(main())
