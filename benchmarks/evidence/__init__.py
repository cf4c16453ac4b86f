"""What pruning does to accuracy, on real data: a script for each claim.

    python -m benchmarks.evidence.han          # Han et al. 2015: weights of the LeNets
    python -m benchmarks.evidence.apoz         # Hu et al. 2016: filters and units of LeNet-5 by their zeros
    python -m benchmarks.evidence.sweep        # weights against units at nine shares, with and without retraining
    python -m benchmarks.evidence.lottery      # Frankle & Carbin 2019: winning tickets and their controls
    python -m benchmarks.evidence.criteria     # filter criteria against FLOPs, file size, measured latency
    python -m benchmarks.evidence.sensitivity  # Li et al. 2017, figure 2b
    python -m benchmarks.evidence.neighbours   # low rank, shared, binary and ternary weights against bytes

Each prints a table and writes NAME.json and NAME.svg into --out. --quick runs the same code in seconds on
scikit-learn's digits, enlarged; --seeds sets how many. An interrupted run continues where it was: what was trained lies
in --cache. Test error is reported as it is at the end of a fixed schedule; whatever is chosen (learning rates, ratios,
stopping) is chosen on 5000 images held out of the training set.
"""
