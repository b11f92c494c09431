import numpy as np

from lens_jax.data import decode
from lens_jax.data.builders import png
from lens_jax.data.regions import WHOLE, Region
from lens_jax.eval.features import make_features
from lens_jax.eval.regions import make_region_features
from tests.data.boxed import picture


def test_the_features_of_regions_are_those_of_their_crops(make_frozen):
    frozen = make_frozen()
    lower_right = Region(0.5, 0.5, 1.0, 1.0)
    image = picture(90)
    found = make_region_features(frozen)(image, [WHOLE, lower_right])

    # The lower right quarter as a picture of its own.
    quarter = png.encode(decode.decode(image)[10:, 20:])
    tap = frozen.system.network.extractor.tap_names[-1]
    features = make_features(frozen, "raw", (tap,))
    side = frozen.config.data.image_size
    resized = [decode.resize(each, side) for each in (image, quarter)]
    expected = features(frozen.state, np.stack(resized))[tap]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[0], found[1])
