"""Motion densities: kernels of a rolling camera everywhere, from a density and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_deblur.blur.camera import expose_along, expose_depths, local_kernel, random_path
from napari_deblur.blur.edges import differences
from napari_deblur.blur.field import FieldGrid
from napari_deblur.blur.kernel_step import normal_equations
from napari_deblur.blur.motion import MotionDensity, improve_density

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


def density_of(path, step):
    """The poses of a path, spread linearly over those next to them."""
    volume = np.zeros((9, SIZE, SIZE))
    poses = np.column_stack([path.rolls / step, -path.shifts]) + np.array([4, 8, 8])
    low = np.floor(poses).astype(int)
    for corner in np.ndindex(2, 2, 2):
        weights = np.abs(1 - np.array(corner) - (poses - low)).prod(axis=1)
        np.add.at(volume, tuple((low + corner).T), weights)
    return MotionDensity(volume / volume.sum(), step)


def test_the_density_of_a_path_gives_its_kernels_everywhere(field):
    path, positions, kernels = field
    assert likeness(density_of(path, 0.012).kernels(positions), kernels).min() > 0.9
    assert density_of(path, 0.012).extent == pytest.approx(0.06, abs=0.03)


def test_a_camera_at_rest_has_one_kernel_and_room_to_roll(field):
    _, positions, kernels = field
    still = MotionDensity.at_rest(kernels[5], 156.0)
    found = still.kernels(positions)
    np.testing.assert_allclose(found, np.broadcast_to(kernels[5], found.shape), atol=1e-6)
    assert still.extent == pytest.approx(1 / 156)
    assert len(still.volume) * still.step * 156 == pytest.approx(SIZE)


def equations_of(sharp, blurry):
    """Places (p, 2) of 5 x 6 patches, and their normal equations."""
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
    auto, cross = (
        np.concatenate([getattr(each, name).double().numpy() for each in equations])
        for name in ("auto", "cross")
    )
    return np.array(positions) - (np.array(sharp.shape) - 1) / 2, auto, cross


@pytest.fixture(scope="module")
def squares():
    return np.kron(np.random.default_rng(0).random((25, 30)), np.ones((8, 8)))


def test_gradients_of_the_whole_image_make_a_still_camera_roll_as_it_did(field, squares):
    path, _, kernels = field
    places, auto, cross = equations_of(squares, expose_along(squares[None], path)[0])
    truth = np.stack([local_kernel(path, tuple(each), SIZE) for each in places])
    current = MotionDensity.at_rest(kernels.mean(axis=0), 156.0)
    before = likeness(current.kernels(places), truth).mean()
    for _ in range(5):
        current = improve_density(current, places, auto, cross)
    after = likeness(current.kernels(places), truth).mean()
    assert before < 0.75
    assert after > 0.9
    assert current.volume.sum() == pytest.approx(1)
    assert current.volume.min() >= 0


def test_a_camera_that_did_not_roll_stays_at_rest(field, squares):
    kernel = field[2][5]
    blurry = expose_depths(squares[None], np.ones(squares.shape, bool), (kernel, kernel))[0]
    places, auto, cross = equations_of(squares, blurry)
    current = MotionDensity.at_rest(kernel, 156.0)
    for _ in range(5):
        current = improve_density(current, places, auto, cross)
    angles = (np.arange(SIZE) - SIZE // 2) * current.step * 156
    # In pixels at the corner.
    assert np.sqrt((current.volume.sum(axis=(1, 2)) * angles**2).sum()) < 0.5


def test_poses_spread_only_where_told_to(field, squares):
    path, _, kernels = field
    places, auto, cross = equations_of(squares, expose_along(squares[None], path)[0])
    start = MotionDensity.at_rest(kernels[5], 156.0)
    kept = improve_density(start, places, auto, cross, grows=False)
    assert (kept.volume.sum(axis=(1, 2)) > 0).sum() == 1


def test_scaling_keeps_the_kernels_up_to_their_size(field):
    path, positions, _ = field
    density = density_of(path, 0.012)
    half = density.scaled(0.5, 9)
    again = half.scaled(2, SIZE)
    assert half.volume.shape[1:] == (9, 9)
    # A pixel is as wide as two afterwards, and that is all that is lost.
    assert likeness(again.kernels(positions), density.kernels(positions)).mean() > 0.75
