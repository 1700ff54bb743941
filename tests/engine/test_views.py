"""What the search for a kernel looks at."""

from __future__ import annotations

import torch

from napari_deblur.blur.pyramid import Scale
from napari_deblur.engine.views import Views


def test_of_a_large_image_the_part_with_the_strongest_gradients_is_kept_or_all() -> None:
    image = torch.zeros(1, 1, 540, 700)
    image[..., 300:, 450::2] = 1
    views = Views([image], None, 0.0)
    kept = views.at(Scale(1.0, 35)).images[0]
    assert kept.shape[-2:] == (512, 512)
    assert kept.sum() == image.sum()
    torch.testing.assert_close(views.whole().at(Scale(1.0, 35)).images[0], image)
