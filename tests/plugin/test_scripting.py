"""The code on the scripting page runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = "docs/scripting.md"
_BLOCK = re.compile(r"^```python([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(root: Path) -> list[tuple[str, str]]:
    return _BLOCK.findall((root / PAGE).read_text("utf-8"))


def with_model(code: str, model: str) -> str:
    """Let the page's code use the tests' model; nothing else is changed."""
    return code.replace('model = "default"', f"model = {model!r}")


def test_the_page_runs_from_top_to_bottom(root, tiny_model, tmp_path):
    """In a process of its own without a display: no Qt may be needed."""
    parts = [code for title, code in blocks(root) if not title]
    assert len(parts) >= 5
    script = with_model("\n".join(parts), tiny_model)
    script += "\nimport sys\nassert 'qtpy' not in sys.modules, 'Qt'\n"
    path = tmp_path / "page.py"
    path.write_text(script, "utf-8")
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={"PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "camera shaken deblurred" in done.stdout


@pytest.mark.gui
def test_the_widgets_are_functions_too(root, tiny_model, make_napari_viewer, qtbot):
    parts = blocks(root)
    code = "\n".join(body for _, body in (parts[0], parts[-1]))
    space: dict[str, object] = {}
    exec(compile(with_model(code, tiny_model), PAGE, "exec"), space)
    assert space["deblurred"][0].shape == (160, 160)
    space["widget"].native.deleteLater()


@pytest.mark.slow
def test_training_runs_as_it_stands_there(root, tiny_model, tmp_path, monkeypatch):
    """Only model and time are others; the layers are those of the page's first block."""
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    parts = blocks(root)
    [training] = [code for title, code in parts if "half an hour" in title]
    short = training.replace('recipe="compact", minutes=30', 'recipe="tiny", minutes=0.02')
    assert short != training
    space: dict[str, object] = {}
    exec(compile(with_model(parts[0][1], tiny_model) + short, PAGE, "exec"), space)
    assert space["deblurred"][0].shape == (160, 160)
    assert (tmp_path / "runs" / "mine" / "joint" / "synthesis.safetensors").is_file()
