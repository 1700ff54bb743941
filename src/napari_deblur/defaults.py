"""Numbers that engine, command line and plugin must agree on; importing them costs nothing."""

from __future__ import annotations

__all__ = ["DEFAULT_ROUNDS", "LARGEST_KERNEL"]

DEFAULT_ROUNDS = 5
"""Rounds of refinement on each scale; more changed nothing on photographs."""

LARGEST_KERNEL = 171
"""Side in pixels of the largest kernel that is estimated, simulated or deconvolved."""
