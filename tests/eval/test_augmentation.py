"""Regression of augmentation parameters, on features that hold them and on features that do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.data.decode import decode
from lens_jax.errors import UserError
from lens_jax.eval.augmentation import Pairs, extract_pairs, regress
from lens_jax.ops import color
from lens_jax.ops.draws import NAMES
from lens_jax.train.system import Purpose, make_key

VARIED = {"augment.area": (0.3, 1.0), "augment.flip": 0.5, "lens.kind": "none"}
RNG = np.random.default_rng(0)


def drawn(count: int) -> np.ndarray:
    """Of the 18 parameters, the flip and the brightness vary."""
    parameters = np.zeros((count, 18), np.float32)
    parameters[:, NAMES.index("flip")] = RNG.integers(0, 2, count)
    parameters[:, NAMES.index("brightness")] = RNG.uniform(0.6, 1.4, count)
    return parameters


def pairs(count: int, noise: float) -> Pairs:
    """Features of which one is the brightness with some noise, and none has to do with the flip."""
    parameters = drawn(count)
    features = RNG.normal(size=(count, 6)).astype(np.float32)
    brightness = parameters[:, NAMES.index("brightness")]
    features[:, 4] = 3 - 50 * brightness + 50 * noise * features[:, 4]
    return Pairs(features, parameters)


def test_a_parameter_that_features_hold_is_told_exactly_and_others_not_at_all():
    found = regress(pairs(400, 0.0), pairs(300, 0.0))
    assert list(found) == ["flip", "brightness"]
    assert found["brightness"] == pytest.approx(1, abs=1e-3)
    assert abs(found["flip"]) < 0.05


def test_noise_leaves_the_part_of_the_variance_that_is_no_noise():
    """Variance 0.8^2 / 12 of the brightness, and as much noise: half is told."""
    found = regress(pairs(3000, 0.8 / np.sqrt(12)), pairs(3000, 0.8 / np.sqrt(12)))
    assert found["brightness"] == pytest.approx(0.5, abs=0.05)


def test_without_augmentations_there_is_nothing_to_tell():
    nothing = Pairs(RNG.normal(size=(9, 2)), np.zeros((9, 18), np.float32))
    with pytest.raises(UserError, match="nothing was drawn for the views"):
        regress(nothing, nothing)


def test_pairs_are_the_features_of_each_image_and_of_its_two_views(make_frozen, colorful):
    frozen = make_frozen(VARIED, {"name": "simclr", "hidden": 4, "embedding": 3})
    source = colorful(5, broken=(3,))
    found = extract_pairs(frozen, source)
    assert found.features.shape[0] == len(found.parameters) == 2 * 4
    width = found.features.shape[1] // 2
    # The image of a pair is the same for both views, which lie one after the other.
    np.testing.assert_array_equal(found.features[:4, :width], found.features[4:, :width])
    varied = np.ptp(found.parameters, axis=0) > 0
    assert varied.tolist() == [True] * 5 + [False] * 13

    # The first image, drawn and shown here.
    pixels = decode(source[0]["image"])
    image = color.to_unit(jnp.asarray(pixels)[None])
    np.testing.assert_allclose(found.features[0, :width], features_of(frozen, image), rtol=1e-3)
    key = jax.random.fold_in(make_key(0, 0, Purpose.VALIDATION), 1)
    augmentation = frozen.system.augmentations[1]
    parameters = augmentation.draw(key, 256, 16, 16)
    np.testing.assert_allclose(parameters.vector()[0], found.parameters[4], rtol=1e-5)
    one = jax.tree.map(lambda rows: rows[:1], parameters)
    view = augmentation.apply(image, one)
    np.testing.assert_allclose(found.features[4, width:], features_of(frozen, view), rtol=1e-3)


def features_of(frozen, images: jax.Array) -> np.ndarray:
    state = frozen.state
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    taps = frozen.system.network.apply(variables, images, train=False, method="taps")
    return np.asarray(taps["pre_logits"][0])


def test_a_task_of_several_crops_is_refused(make_jigsaw, colorful):
    frozen = make_jigsaw(VARIED)
    with pytest.raises(UserError, match="task 'jigsaw' represents an image by several crops"):
        extract_pairs(frozen, colorful(4))
