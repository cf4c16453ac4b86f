"""``sparsenet demo``: real digits, real photos, from training to latency; see :func:`sparsenet.demo.story.tell`."""
