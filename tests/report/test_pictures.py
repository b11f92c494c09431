import io

import numpy as np
from PIL import Image

from lens_jax.report import pictures


def test_pictures_show_every_example_once(measured_lens):
    shown = pictures.example_pictures("lens", measured_lens)
    sizes = [Image.open(io.BytesIO(picture.png)).size for picture in shown]
    step = 16 * 11 + 8
    assert sizes == [(44 + 4 * step, 8 + 3 * step), (44 + 2 * step, 8 + 3 * step)]
    assert [picture.caption for picture in shown] == [
        "Images 1 to 4 of 6, evenly spaced over the eval split.",
        "Images 5 to 6 of 6, evenly spaced over the eval split.",
    ]


def test_an_image_that_is_its_only_view_is_not_shown_twice(measured_lens):
    assert len(pictures.view_pictures("lens", measured_lens)) == 2
    single = measured_lens._replace(views_per_image=1)
    assert pictures.view_pictures("lens", single) == []


def test_views_that_are_all_alike_are_not_shown_twice(measured_lens):
    # Four images in their two views.
    inputs = np.repeat(measured_lens.inputs[::3][:4], 2, axis=0)
    alike = measured_lens._replace(inputs=inputs, lensed=inputs, views_per_image=2)
    assert pictures.view_pictures("lens", alike) == []
    inputs[7, 0, 0] += 0.1
    assert len(pictures.view_pictures("lens", alike._replace(inputs=inputs))) == 2
