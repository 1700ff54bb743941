"""The manifest leads to what there is, without a price at start-up."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from npe2 import PluginManifest

from napari_deblur.plugin.preferences import Preferences, read_preferences

pytestmark = pytest.mark.gui


@pytest.fixture
def manifest(npe2pm) -> PluginManifest:
    found = PluginManifest.from_distribution("napari-deblur")
    npe2pm.register(found)
    return found


def test_every_command_can_be_imported(manifest):
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_widgets_are_in_the_filter_menu(manifest):
    submenus = manifest.contributions.menus["napari/layers/filter"]
    assert [each.submenu for each in submenus] == ["napari-deblur/filter"]
    listed = {each.command for each in manifest.contributions.menus["napari-deblur/filter"]}
    assert listed == {each.command for each in manifest.contributions.widgets}


def test_widgets_are_in_the_menu_and_the_command_palette(make_napari_viewer_proxy, manifest):
    from napari._app_model import get_app_model

    make_napari_viewer_proxy()
    app = get_app_model()
    titles = {item.command.title for item in app.menus.get_menu("napari-deblur/filter")}
    assert any("Estimate blur kernel" in title for title in titles)
    palette = {item.command.title for item in app.menus.get_menu(app.menus.COMMAND_PALETTE_ID)}
    assert any("Kernel map" in title for title in palette)


def test_samples_open_in_a_viewer(make_napari_viewer_proxy, manifest):
    viewer = make_napari_viewer_proxy()
    viewer.open_sample("napari-deblur", "clock")
    assert [layer.name for layer in viewer.layers] == ["clock"]


def test_preferences_are_read(plugin_settings, manifest):
    from napari.settings import get_plugin_settings

    assert read_preferences() == Preferences()
    page = get_plugin_settings("napari-deblur").computing
    page.device, page.tile = "cpu", 256
    assert read_preferences() == Preferences(device="cpu", tile=256)


def test_new_widgets_start_with_the_preferences(dock):
    from napari.settings import get_plugin_settings

    page = get_plugin_settings("napari-deblur").computing
    page.device, page.tile = "cpu", 128
    _, widget = dock("Deblur")
    assert (widget._engine.device.value, widget._engine.tile.value) == ("cpu", 128)


def test_without_napari_knowing_the_plugin_preferences_are_the_defaults(plugin_settings):
    assert read_preferences() == Preferences()


def test_opening_the_widgets_leaves_torch_out():
    """In a process of its own, because others have imported torch here long ago."""
    code = """
import sys, napari
viewer = napari.Viewer(show=False)
import numpy as np
titles = ["Estimate blur kernel", "Deblur", "Simulate camera shake", "Kernel map"]
titles.append("Train on my images")
viewer.add_image(np.zeros((64, 64)))
for title in titles:
    viewer.window.add_plugin_dock_widget("napari-deblur", title)
assert "torch" not in sys.modules, "torch"
viewer.close()
"""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    print(f"opening four widgets in a new process took {time.perf_counter() - began:.1f} s")
