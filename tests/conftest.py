"""What every test shares: a weights cache of its own, no server, and the way to optional data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A test that fails once must fail again: examples are drawn from the test's own source, and a busy
# machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test, and the processes it starts, an empty weights cache and no server."""
    monkeypatch.setenv("NAPARI_DEBLUR_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("NAPARI_DEBLUR_WEIGHTS_URL", raising=False)


@pytest.fixture(scope="session")
def soak_share() -> float:
    """Return how much of its full length a test marked `soak` takes; less than 1 is a rehearsal.

    What such a test measures it hands to pytest's `record_property(name, figure)`: `make soak`
    prints it and keeps it in docs/reliability.md.
    """
    return float(os.environ.get("NAPARI_DEBLUR_SOAK_SHARE", "1"))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of benchmark data beside the checkout, or skip the test."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no benchmark data beside the checkout (../shared)")
    return folder
