"""What the widgets that make layers share: the image, advanced fields, results, copying."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from magicgui.widgets import Widget
from napari.layers import Image, Layer
from napari.types import LayerDataTuple

from napari_deblur.plugin.copying import CopyButtons
from napari_deblur.plugin.engine_fields import EngineFields
from napari_deblur.plugin.fields import AUTO
from napari_deblur.plugin.image_fields import ImageFields
from napari_deblur.plugin.preferences import apply_environment, read_preferences
from napari_deblur.plugin.results import Results
from napari_deblur.plugin.rows import Disclosure
from napari_deblur.plugin.run import State
from napari_deblur.plugin.run_widget import RunWidget
from napari_deblur.plugin.slices import LayerView
from napari_deblur.plugin.tasks import Event, Opened, Written
from napari_deblur.plugin.weights_task import fetch_task

__all__ = ["TaskWidget"]


class TaskWidget(RunWidget):
    """A dock widget that makes layers out of an image layer.

    Parameters
    ----------
    viewer : Viewer or ViewerModel, optional
        The viewer; the current one by default.

    A subclass makes its fields after this constructor and then calls `_build`.
    """

    updated_in_place: ClassVar[frozenset[str]] = frozenset()
    """Kinds of results (see `provenance`) of which a source has only one layer."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        apply_environment(read_preferences())
        self.source = ImageFields(self._viewer)
        self._engine: EngineFields | None = None
        self._results = Results(self._viewer, self.source, self.updated_in_place)
        self._copying = CopyButtons(self.source.layers, self._say)

    def _build(
        self, fields: Sequence[Widget], advanced: Sequence[Widget], engine: EngineFields | None
    ) -> None:
        """Put the fields in order and let them talk to each other.

        Parameters
        ----------
        fields : sequence of Widget
            The subclass's fields.  The image's field comes before them.
        advanced : sequence of Widget
            Fields that are seldom needed, shown on demand.
        engine : EngineFields, optional
            Those of the engine, which are among the others.
        """
        self._engine = engine
        group = [*advanced, self.source.channels]
        self._advanced = Disclosure("Advanced", group, self._is_apt)
        self.extend(
            [
                self.source.image,
                self.source.level_field,
                *fields,
                self._advanced.button,
                *group,
                *self._run_rows,
                *self._copying.widgets,
            ]
        )
        self.source.image.changed.connect(self._on_image)
        self.source.level_field.changed.connect(self._refresh)
        self.source.channels.changed.connect(self._on_image_axes)
        if engine is not None:
            engine.show_apt_fields()
            engine.fetch.clicked.connect(self.fetch)
            engine.clipped.changed.connect(self._advanced.update)
        self._watch([self.source.image, *fields, *advanced])
        self.reset_choices()
        self.source.take_selected()

    # What a subclass says.

    def _wrong_fields(self, view: LayerView) -> Iterator[tuple[Widget, str]]:
        """The subclass's fields whose values cannot be used, and why and what to do."""
        del view
        yield from ()

    def _is_apt(self, widget: Widget) -> bool:
        """Whether an advanced field means anything now."""
        if widget is self.source.channels:
            return self.source.has_channel_choice
        return self._engine is None or self._engine.is_apt(widget)

    def _follow_image(self, view: LayerView | None) -> None:
        """Adapt the fields to the chosen image."""

    def _summary(self, layers: list[Layer]) -> str:
        """Return what is to be said of the results, beside the time that they took."""
        del layers
        return ""

    # What a subclass and a script use.

    @property
    def layer(self) -> Image:
        """The chosen image layer, which there is when Run is enabled."""
        assert self.source.layer is not None
        return self.source.layer

    def fetch(self) -> None:
        """Fetch the weights that the chosen model lacks, as the Download button does."""
        if self._engine is not None:
            self._start(fetch_task(str(self._engine.model.value)), "Download weights")

    def reset_choices(self, *_: Any) -> None:
        """Look at the viewer's layers again; napari calls this when they change."""
        super().reset_choices()
        self._on_image()

    def _values(self) -> dict[str, Any]:
        """Arguments for the functions of this plugin that all widgets with an engine share."""
        engine = {} if self._engine is None else self._engine.values()
        return engine | self.source.values() | {"index": self.source.shown_index}

    # How it works.

    def _subject(self) -> str:
        return str(self.layer.name)

    def _on_image(self, *_: Any) -> None:
        self.source.follow()
        self._on_image_axes()

    def _on_image_axes(self, *_: Any) -> None:
        self._follow_image(self.source.view)
        self._advanced.update()
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        super()._refresh()
        if any(widget in self._advanced.widgets for widget, _ in self._problems()):
            self._advanced.open()

    def _problems(self) -> Iterator[tuple[Widget, str]]:
        yield from self.source.problems()
        view = self.source.view
        if view is not None:
            yield from self._wrong_fields(view)
            if self._engine is not None:
                yield from self._engine.problems()

    def _on_state(self) -> None:
        if self.state is State.RUNNING:
            self._copying.offer(None)
        super()._on_state()

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        if isinstance(event, Opened):
            self._results.open(event.layer)
        elif isinstance(event, Written):
            self._results.refresh()

    def _show(self, made: list[LayerDataTuple]) -> None:
        if not made:  # weights were fetched
            if self._engine is not None:
                self._engine.show_apt_fields()
            return
        layers = self._results.show(made)
        self._has_result = True
        self._copying.offer(layers[0])
        record = self._copying.record
        self._say(f"Done{_how(record or {})}. {self._summary(layers)}".strip())

    def _discard(self) -> None:
        self._results.discard()


def _how(about: Mapping[str, Any]) -> str:
    """In which time, where, and with which model if that was left to the engine."""
    if not about:
        return ""
    chosen = f" with {about['model']}" if about["parameters"].get("model") == AUTO else ""
    return f" in {about['seconds']:.1f} s on {about['device']}{chosen}"
