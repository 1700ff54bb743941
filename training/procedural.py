"""Procedural sharp images: no licence, no download, any number, the same for the same seed.

Dead leaves (Lee, Mumford & Huang, "Occlusion models for natural images", IJCV 2001) have the
statistics of natural scenes: occlusion, edges at every scale.  Text, fluorescent spots, filaments
and cells are what people photograph and put under microscopes.
"""

from __future__ import annotations

import string
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["PROCEDURAL", "procedural_image", "procedural_images"]

_OVERSAMPLING = 2
_WORTH_A_PROCESS = 2**22
"""Pixels to draw below which starting processes takes longer than drawing."""
_WORDS = 14


def procedural_image(kind: str, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one image of a kind of `PROCEDURAL`.

    Returns
    -------
    ndarray, shape (size, size, 3), uint8
    """
    return PROCEDURAL[kind](size, rng)


def procedural_images(
    kinds: Sequence[str], count: int, size: int, seed: int, workers: int
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Draw `count` images of each kind, the same for the same seed with any number of workers.

    Returns
    -------
    list of (str, ndarray)
        The kind and the image (size, size, 3) of each.
    """
    orders = [(kind, size, seed, i) for kind in kinds for i in range(count)]
    if workers > 1 and len(orders) * size * size > _WORTH_A_PROCESS:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            return list(pool.map(_draw_one, orders, chunksize=4))
    return [_draw_one(order) for order in orders]


def _draw_one(order: tuple[str, int, int, int]) -> tuple[str, NDArray[np.uint8]]:
    kind, size, seed, index = order
    key = [seed, sorted(PROCEDURAL).index(kind), index]
    return kind, procedural_image(kind, size, np.random.default_rng(np.random.SeedSequence(key)))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A random colour, as often muted as not: colour is rare in the world."""
    grey = rng.uniform(0, 255)
    spread = rng.choice([0.0, 15.0, 60.0])
    red, green, blue = np.clip(grey + spread * rng.standard_normal(3), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _reduced(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Anti-alias: drawn large, reduced by averaging."""
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def _dead_leaves(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    side = size * _OVERSAMPLING
    image = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(image)
    smallest, largest = 3.0 * _OVERSAMPLING, side / 3
    # Radii with density r^-3, drawn by inverting the distribution: the scale-free case.
    chance = rng.random(20 * size)
    radii = 1 / np.sqrt(1 / largest**2 + chance * (1 / smallest**2 - 1 / largest**2))
    for radius in radii:
        x, y = rng.uniform(0, side, 2)
        _leaf(draw, rng, (x, y), float(radius))
    leaves = _reduced(image, size).astype(np.float32)
    texture = _texture(size, rng)[:, :, None]
    return np.asarray(np.clip(leaves + texture, 0, 255), np.uint8)


def _leaf(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, at: tuple[float, float], radius: float
) -> None:
    x, y = at
    corners = int(rng.choice([0, 3, 4, 6]))
    if corners == 0:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(rng))
        return
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    outline = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
    draw.polygon(outline, fill=_colour(rng))


def _texture(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Weak random texture in patches, so that flat areas are not all perfectly flat."""
    noise = rng.standard_normal((size, size)).astype(np.float32)
    noise = gaussian_filter(noise, rng.uniform(0.4, 1.5))
    noise /= noise.std() + 1e-6
    patches = gaussian_filter(rng.standard_normal((size, size)), size / 16) > 0
    return np.asarray(rng.uniform(0, 12) * noise * patches, np.float32)


def _text(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    side = size * _OVERSAMPLING
    paper, ink = _colour(rng), _colour(rng)
    while abs(sum(paper) - sum(ink)) < 150:  # else nobody could read it
        paper, ink = _colour(rng), _colour(rng)
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    y = float(rng.uniform(-10, 10))
    while y < side:
        height = int(rng.integers(9, 40)) * _OVERSAMPLING
        font = ImageFont.load_default(height)
        draw.text((float(rng.uniform(-40, 20)), y), _line(rng), font=font, fill=ink)
        y += height * float(rng.uniform(1.0, 1.8))
    angle = float(rng.choice([0.0, rng.uniform(-8, 8)]))
    return _reduced(image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=paper), size)


def _line(rng: np.random.Generator) -> str:
    letters = string.ascii_letters + string.digits + ".,;:-()"
    lengths = rng.integers(1, 12, _WORDS)
    return " ".join("".join(rng.choice(list(letters), length)) for length in lengths)


def _stain(density: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Show a density as a fluorescence image: dark ground, one stain, one grey or coloured."""
    density = density / max(float(density.max()), 1e-12)
    ground = rng.uniform(2, 25)
    stain = np.full(3, 1.0) if rng.random() < 0.5 else rng.uniform(0.1, 1, 3)
    values = ground + density[:, :, None] * (255 - ground) * stain / stain.max()
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def _spots(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    density = np.zeros((size, size))
    for sigma in rng.uniform(0.6, 3.0, 3):
        layer = np.zeros((size, size))
        count = int(size * size * rng.uniform(0.0003, 0.002))
        rows, columns = rng.integers(0, size, (2, count))
        np.add.at(layer, (rows, columns), rng.gamma(2.0, 0.5, count))
        density += gaussian_filter(layer, sigma) * sigma**2
    return _stain(np.minimum(density, np.quantile(density, 0.9995)), rng)


def _filaments(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    side = size * _OVERSAMPLING
    image = Image.new("F", (side, side))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(20, 70))):
        points = _walk(rng, side)
        width = int(rng.integers(1, 4)) * _OVERSAMPLING
        draw.line(points, fill=float(rng.uniform(0.3, 1)), width=width, joint="curve")
    density = np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float64)
    return _stain(gaussian_filter(density, rng.uniform(0.2, 0.8)), rng)


def _walk(rng: np.random.Generator, side: int) -> list[tuple[float, float]]:
    """A smooth random path: the direction wanders, the step does not."""
    steps = 60
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(0.12 * rng.standard_normal(steps))
    x = rng.uniform(0, side) + np.cumsum(np.cos(direction)) * side / steps
    y = rng.uniform(0, side) + np.cumsum(np.sin(direction)) * side / steps
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _cells(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    density = np.zeros((size, size))
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    grain = gaussian_filter(rng.standard_normal((size, size)), 2.0)
    grain /= grain.std()
    for _ in range(int(rng.integers(10, 40))):
        density = np.maximum(density, _cell(rows, columns, grain, rng))
    return _stain(density, rng)


def _cell(
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    grain: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    size = len(rows)
    y, x = rng.uniform(0, size, 2)
    long, short = np.sort(rng.uniform(size / 50, size / 12, 2))[::-1]
    turn = rng.uniform(0, np.pi)
    u = (rows - y) * np.cos(turn) + (columns - x) * np.sin(turn)
    v = (columns - x) * np.cos(turn) - (rows - y) * np.sin(turn)
    distance = np.hypot(u / long, v / short)
    inside = np.clip((1 - distance) * short / 1.2, 0, 1)  # about one pixel of rim
    membrane = np.exp(-0.5 * ((distance - 1) * short / 1.5) ** 2) * rng.uniform(0, 0.6)
    body = inside * (1 + rng.uniform(0, 0.35) * grain) * rng.uniform(0.3, 1)
    return np.asarray(np.clip(body + membrane, 0, 1.5))


PROCEDURAL: dict[str, Callable[[int, np.random.Generator], NDArray[np.uint8]]] = {
    "dead_leaves": _dead_leaves,
    "text": _text,
    "spots": _spots,
    "filaments": _filaments,
    "cells": _cells,
}
