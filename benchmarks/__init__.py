"""Benchmarks, peers and the network definitions they and the tests share."""
