"""What pruning buys: a study is pruned, fine-tuned, compiled and measured; tables, plots and one page tell of it.

`study` says what, `builtin` holds ready ones on the images of `data`, `methods` how they are pruned, `run` does the
work (`measure` times, in a process of its own), `store` keeps the JSON, `devices` reads what other machines measured,
`analysis` draws conclusions, `tables`, `plots`, `plots_layers`, `figures` and `page` show them, `write` renders.
"""
