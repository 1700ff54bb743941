"""How results come into the viewer: filled while a run goes on, in place, or as new layers.

Everything here happens on the main thread.  No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from napari.types import LayerDataTuple

from napari_deblur.errors import DeblurError
from napari_deblur.plugin.image_fields import ImageFields
from napari_deblur.plugin.metadata import KEY
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.regions import visible_region, whole_region

__all__ = ["Results"]

_GEOMETRY = ("scale", "translate", "rotate", "shear", "affine", "contrast_limits")


class Results:
    """Puts the layers of one widget's runs into the viewer.

    Parameters
    ----------
    viewer : Viewer or ViewerModel or None
        The viewer.
    source : ImageFields
        Which image the results are of.
    updated_in_place : set of str
        Kinds of results (see `provenance`) of which a source has only one layer.
    """

    def __init__(self, viewer: Any, source: ImageFields, updated_in_place: frozenset[str]) -> None:
        self._viewer = viewer
        self._source = source
        self._updated_in_place = updated_in_place
        self._opened: Layer | None = None

    def open(self, made: LayerDataTuple) -> None:
        """Show a layer that the run fills plane by plane from now on."""
        self._opened = self._add(made)

    def refresh(self) -> None:
        """Show what the opened layer holds by now."""
        if self._opened is not None and self._opened in self._source.layers():
            self._opened.refresh()

    def discard(self) -> None:
        """Remove the layer that was being filled."""
        if self._opened is not None and self._opened in self._source.layers():
            self._viewer.layers.remove(self._opened)
        self._opened = None

    def show(self, made: list[LayerDataTuple]) -> list[Layer]:
        """Put a run's results into the viewer, each where it belongs."""
        opened, self._opened = self._opened, None
        return [self._show(each, opened) for each in made]

    def _show(self, made: LayerDataTuple, opened: Layer | None) -> Layer:
        data, attributes, _ = made
        if opened is not None and opened.data is data and opened in self._source.layers():
            opened.metadata = attributes["metadata"]
            opened.refresh()
            return opened
        present = self._present(attributes)
        if present is None:
            return self._add(made)
        if present.ndim != np.ndim(data):
            place = self._source.layers().index(present)
            self._viewer.layers.remove(present)
            layer = self._add(made)
            self._viewer.layers.move(self._source.layers().index(layer), place)
            return layer
        present.data = data
        for name in _GEOMETRY:
            if name in attributes:  # RGB has no contrast limits
                setattr(present, name, attributes[name])
        present.metadata = attributes["metadata"]
        return present

    def _present(self, attributes: dict[str, Any]) -> Image | None:
        """Return the layer that a result takes the place of."""
        new = attributes["metadata"].get(KEY, {})
        for layer in self._source.layers():
            old = record_of(layer)
            if (
                old is not None
                and layer.name == attributes["name"]
                and (old["kind"] in self._updated_in_place or "preview" in old["found"])
                and old["kind"] == new.get("kind")
                and old["source"]["name"] == new["source"]["name"]
            ):
                return layer
        return None

    def _add(self, made: LayerDataTuple) -> Layer:
        """Add a layer, and keep everything in sight where everything was."""
        with self._whole_view_kept():
            return self._viewer.add_layer(Layer.create(*made))

    @contextmanager
    def _whole_view_kept(self) -> Iterator[None]:
        layer, view = self._source.layer, self._source.view
        whole = False
        if layer is not None and view is not None:
            try:
                whole = visible_region(layer, view).size == whole_region(view).size
            except DeblurError:
                whole = False
        yield
        if whole:
            self._viewer.reset_view()
