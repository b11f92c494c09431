"""The features of regions of an image, by which they are recognized in another one."""

from collections.abc import Callable

import jax
import numpy as np

from lens_jax.data import decode
from lens_jax.data.decode import read_decoding
from lens_jax.data.regions import Region
from lens_jax.devices.compiler import compiler_options
from lens_jax.eval.features import make_features
from lens_jax.eval.frozen import Frozen
from lens_jax.eval.passes import linear_size


def make_region_features(frozen: Frozen) -> Callable[[bytes, list[Region]], np.ndarray]:
    """Makes the function (encoded image, P of its regions) -> features [P, d].

    The features are the extractor's last tap, of regions resized to what it sees in linear
    evaluation. The function raises `ValueError` for an image that does not decode.
    """
    data = frozen.config.data
    size = linear_size(data)
    # Regions lie in images as they are stored.
    decoding = read_decoding(data)._replace(upright=False)
    tap = frozen.system.network.extractor.tap_names[-1]
    features = make_features(frozen, "raw", (tap,))
    compute = jax.jit(features, compiler_options=compiler_options())

    def describe(image: bytes, regions: list[Region]) -> np.ndarray:
        crops = [decode.resize(image, size, decoding, region) for region in regions]
        taps = compute(frozen.state, np.stack(crops))
        return np.asarray(taps[tap])

    return describe
