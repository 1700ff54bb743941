"""What the user chose on this plugin's page of napari's preferences.

Only the plugin looks at them; the Python functions and the command line do not.  An environment
variable goes before the preference of the same meaning.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["DEVICES", "Preferences", "apply_environment", "read_preferences"]

DEVICES = ("auto", "cpu", "cuda", "mps")

_VARIABLES = {
    "cache_folder": "NAPARI_DEBLUR_CACHE",
    "weights_url": "NAPARI_DEBLUR_WEIGHTS_URL",
}


@dataclass(frozen=True)
class Preferences:
    """The page's values.

    Attributes
    ----------
    device : str
        Where to compute.
    tile : int
        Side of a tile in pixels; 0 to let the engine choose.
    cache_folder : str
        Where weights are kept; empty for the system's usual place.
    weights_url : str
        Server that weights are fetched from; empty for none.
    """

    device: str = "auto"
    tile: int = 0
    cache_folder: str = ""
    weights_url: str = ""


def read_preferences() -> Preferences:
    """Read the preferences; their defaults where napari does not know this plugin."""
    from napari.settings import get_plugin_settings

    try:
        page = get_plugin_settings("napari-deblur").computing
    except KeyError:
        return Preferences()
    return Preferences(
        device=str(page.device),
        tile=int(page.tile),
        cache_folder=str(page.cache_folder),
        weights_url=str(page.weights_url),
    )


def apply_environment(preferences: Preferences) -> None:
    """Let the weights be looked for where the preferences say."""
    for name, variable in _VARIABLES.items():
        value = getattr(preferences, name).strip()
        if value:
            os.environ.setdefault(variable, value)
