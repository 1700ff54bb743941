"""Bring the OME-XML of a file that was read in line with the one that is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    import numpy as np

__all__ = ["adapted_ome_xml"]

_TYPES = {
    "float32": "float",
    "float64": "double",
    "complex64": "complex",
    "complex128": "double-complex",
}
_PLAIN_TYPES = {"uint8", "uint16", "uint32", "int8", "int16", "int32"}
_DATA = {"TiffData", "BinData", "MetadataOnly"}


def adapted_ome_xml(xml: str, dtype: np.dtype[Any], planes: int, *, big_endian: bool) -> str | None:
    """OME-XML of a file that holds the first image of another, all planes in their order.

    Everything that describes the image stays: sizes, units, channels, times, instrument.
    What tells where the values lie is written anew, and the identity of the old file goes.

    Parameters
    ----------
    xml : str
        The other file's OME-XML.
    dtype : numpy.dtype
        Type of the values that will be written.
    planes : int
        Number of pages that will be written.
    big_endian : bool
        Byte order of the file that will be written.

    Returns
    -------
    str or None
        None where the XML does not describe the image itself, or OME has no such dtype.
    """
    name = dtype.newbyteorder("=").name
    kind = _TYPES.get(name, name if name in _PLAIN_TYPES else None)
    try:
        root = ET.fromstring(xml)  # noqa: S314  expat bounds entities, tifffile parsed it
    except (ET.ParseError, ValueError):
        return None
    namespace = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
    images = root.findall(f"{namespace}Image")
    pixels = images[0].find(f"{namespace}Pixels") if images else None
    if kind is None or pixels is None:
        return None
    for image in images[1:]:
        root.remove(image)
    root.attrib.pop("UUID", None)
    if pixels.get("Type") != kind:
        pixels.set("Type", kind)
        pixels.attrib.pop("SignificantBits", None)
    pixels.set("BigEndian", str(big_endian).lower())
    _replace_data(pixels, namespace, planes)
    if namespace:
        ET.register_namespace("", namespace[1:-1])
    text: str = ET.tostring(root, encoding="unicode")
    return '<?xml version="1.0" encoding="UTF-8"?>' + text


def _replace_data(pixels: ET.Element, namespace: str, planes: int) -> None:
    for name in _DATA:
        for element in pixels.findall(f"{namespace}{name}"):
            pixels.remove(element)
    data = ET.Element(f"{namespace}TiffData", {"IFD": "0", "PlaneCount": str(planes)})
    # The schema wants the data after the channels and before the planes.
    channels = len(pixels.findall(f"{namespace}Channel"))
    pixels.insert(channels, data)
