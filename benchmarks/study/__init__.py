"""The study behind docs/study.md: which pruning makes a network faster on this CPU, at equal accuracy.

    python -m benchmarks.study prune     # prunes, fine-tunes, writes a .snet and a record for each row; no clock
    python -m benchmarks.study time      # times every row that has no time yet, beside onnxruntime; on a quiet core
    python -m benchmarks.study layers    # from which share of zeros on each kernel family pays, layer by layer
    python -m benchmarks.study tables    # gathers docs/study.json and writes the tables of docs/study.md

--networks and --rows take some only. All of it lies in --cache, a file a row: an interrupted run goes on where it was.
`time --budget 150` begins nothing new after 150 seconds. Data sets are found as in `benchmarks.evidence`.
"""
