"""Benchmarks: published protocols, measures, and the methods that they compare."""
