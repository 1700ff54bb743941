"""Weights: safetensors files, the registry of those that are known, and fetching them."""
