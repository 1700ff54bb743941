"""Motion densities: kernels of a rolling camera everywhere, from a density and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_deblur.blur.camera import expose_along, local_kernel, random_path
from napari_deblur.blur.edges import differences
from napari_deblur.blur.field import FieldGrid
from napari_deblur.blur.kernel_step import normal_equations
from napari_deblur.blur.motion import MotionDensity, fit_density, improve_density

SIZE = 17


def likeness(one, other):
    norms = [np.linalg.norm(each, axis=(1, 2)) for each in (one, other)]
    return (one * other).sum(axis=(1, 2)) / (norms[0] * norms[1])


def positions_of(grid):
    return np.array([grid.centre(cell) for cell in grid.cells]) - (np.array(grid.size) - 1) / 2


@pytest.fixture(scope="module")
def field():
    """A path, positions of 4 x 4 cells of an image (200, 240), and their kernels."""
    path = random_path(np.random.default_rng(5), roll=0.06, shift=5, radius=156)
    positions = positions_of(FieldGrid((200, 240), (4, 4)))
    kernels = np.stack([local_kernel(path, tuple(each), SIZE) for each in positions])
    return path, positions, kernels


def test_a_single_pose_puts_its_pixel_where_the_camera_would():
    volume = np.zeros((5, SIZE, SIZE))
    volume[3, 8 + 1, 8 - 2] = 1
    kernel = MotionDensity(volume, 0.04).kernels(np.array([[0.0, 0.0], [0.0, 50.0]]))
    assert kernel[0].argmax() == (8 + 1) * SIZE + 8 - 2
    # At column 50 a roll by 0.04 shows what is 2 pixels further up: the kernel moves down.
    assert np.unravel_index(kernel[1].argmax(), (SIZE, SIZE)) == (8 + 1 + 2, 8 - 2)


def test_a_fitted_density_gives_the_kernels_it_was_fitted_to_and_those_between(field):
    path, positions, kernels = field
    density, found = fit_density(kernels, positions, np.ones(len(positions)))
    assert found.mean() > 0.9
    between = positions_of(FieldGrid((200, 240), (5, 5)))
    truth = np.stack([local_kernel(path, tuple(each), SIZE) for each in between])
    nearest = np.argmin(((between[:, None] - positions[None]) ** 2).sum(-1), axis=1)
    fitted = likeness(density.kernels(between), truth).mean()
    assert fitted > 0.94
    assert fitted > likeness(kernels[nearest], truth).mean() + 0.05


def test_a_kernel_that_does_not_go_with_the_others_loses_its_say(field):
    _, positions, kernels = field
    wrong = kernels.copy()
    wrong[5] = kernels[5].T[::-1]
    density, found = fit_density(wrong, positions, np.ones(len(positions)))
    assert found.argmin() == 5
    assert likeness(density.kernels(positions), kernels).mean() > 0.85


def test_uniform_kernels_need_no_roll(field):
    _, positions, kernels = field
    same = np.repeat(kernels[5:6], len(positions), axis=0)
    density, _ = fit_density(same, positions, np.ones(len(positions)))
    angles = np.arange(len(density.volume)) - len(density.volume) // 2
    shares = density.volume.sum(axis=(1, 2))
    # In steps of the angle, each of which moves the outermost position by one pixel.
    assert np.sqrt((shares * angles**2).sum()) < 0.7


def test_gradients_of_the_whole_image_make_a_rough_density_sharp(field):
    path, _, _ = field
    sharp = np.kron(np.random.default_rng(0).random((25, 30)), np.ones((8, 8)))
    blurry = expose_along(sharp[None], path)[0]
    grid = FieldGrid(sharp.shape, (5, 6))
    positions, equations = [], []
    for cell in grid.cells:
        rows, columns = grid.patch(cell)
        positions.append([(part.start + part.stop - 1) / 2 for part in (rows, columns)])
        patch = [
            torch.from_numpy(np.float32(image[rows, columns]))[None, None]
            for image in (sharp, blurry)
        ]
        equations.append(normal_equations(*(differences(each) for each in patch), SIZE))
    places = np.array(positions) - (np.array(sharp.shape) - 1) / 2
    auto, cross = (
        np.concatenate([getattr(each, name).double().numpy() for each in equations])
        for name in ("auto", "cross")
    )
    truth = np.stack([local_kernel(path, tuple(each), SIZE) for each in places])
    volume = np.zeros((9, SIZE, SIZE))
    volume[3:6, 6:11, 6:11] = 1
    current = MotionDensity(volume / volume.sum(), 0.008)
    before = likeness(current.kernels(places), truth).mean()
    for _ in range(4):
        current = improve_density(current, places, auto, cross)
    after = likeness(current.kernels(places), truth).mean()
    assert before < 0.7
    assert after > 0.9
    assert current.volume.sum() == pytest.approx(1)
    assert current.volume.min() >= 0


def test_scaling_keeps_the_kernels_up_to_their_size(field):
    _, positions, kernels = field
    density, _ = fit_density(kernels, positions, np.ones(len(positions)))
    half = density.scaled(0.5, 9)
    again = half.scaled(2, SIZE)
    assert half.volume.shape[1:] == (9, 9)
    # A pixel is as wide as two afterwards, and that is all that is lost.
    assert likeness(again.kernels(positions), density.kernels(positions)).mean() > 0.75
