import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.models.network import LinearHead, Network, standardized
from lens_jax.models.resnet import BasicBlock, ResNet
from lens_jax.tasks.jigsaw import Jigsaw


def tiny(dtype=jnp.float32) -> ResNet:
    return ResNet((1, 1), BasicBlock, width=4, stem="patch", dtype=dtype)


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 16, 16, 3)).astype(np.float32)


def init(network: Network, images: np.ndarray, arrangement: np.ndarray | None = None) -> dict:
    key = jax.random.key(0)
    return jax.jit(lambda x: network.init(key, x, arrangement, train=False))(images)


def outputs_of(
    network: Network, variables: dict, images: np.ndarray, arrangement=None
) -> jax.Array:
    return jax.jit(lambda v, x: network.apply(v, x, arrangement, train=False))(variables, images)


def taps_of(network: Network, variables: dict, images: np.ndarray) -> dict[str, jax.Array]:
    return jax.jit(lambda v, x: network.apply(v, x, train=False, method="taps"))(variables, images)


def test_standardized_images_are_those_of_a_loop(x64):
    images = np.random.default_rng(0).normal(0.3, 0.2, (4, 5, 6, 3))
    images[1] *= 1e-3  # so faint that the deviation's bound counts
    images[2] = 0.7
    expected = np.empty_like(images)
    for i, image in enumerate(images):
        numbers = [float(x) for x in image.ravel()]
        mean = sum(numbers) / 90
        deviation = (sum((x - mean) ** 2 for x in numbers) / 90) ** 0.5
        expected[i] = (image - mean) / max(deviation, 1 / 90**0.5)
    np.testing.assert_allclose(standardized(jnp.asarray(images)), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(expected[0].std(), 1)
    assert expected[1].std() < 0.1


def test_flat_images_have_finite_values_and_gradients():
    images = jnp.stack([jnp.full((4, 4, 3), value) for value in (-1.0, 0.0, 0.7)])
    weights = jnp.asarray(np.random.default_rng(0).normal(size=images.shape), jnp.float32)
    values, pull = jax.vjp(standardized, images)
    np.testing.assert_allclose(values, 0, rtol=0, atol=1e-5)
    (gradient,) = pull(weights)
    centerd = weights - weights.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(gradient, centerd * 48**0.5, rtol=1e-3, atol=1e-3)


def test_a_network_that_standardizes_is_blind_to_brightness_and_contrast():
    images = random_images(3)
    sharp, plain = (Network(tiny(), LinearHead(3), standardize) for standardize in (True, False))
    variables = init(sharp, images)
    scaled = 0.4 * images - 0.2
    for read in (outputs_of, lambda *each: taps_of(*each)["block1"]):
        one, other = read(sharp, variables, images), read(sharp, variables, scaled)
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
        by_hand = (images - images.mean((1, 2, 3), keepdims=True)) / images.std(
            (1, 2, 3), keepdims=True
        )
        np.testing.assert_allclose(one, read(plain, variables, by_hand), rtol=1e-3, atol=1e-4)
        assert abs(one - read(plain, variables, images)).max() > 0.01


def test_a_network_is_its_head_on_the_pooled_features():
    network, images = Network(tiny(), LinearHead(3)), random_images(2)
    variables = init(network, images)
    taps = taps_of(network, variables, images)
    dense = variables["params"]["head"]["Dense_0"]
    expected = np.asarray(taps["pre_logits"], np.float64) @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(outputs_of(network, variables, images), expected, rtol=0, atol=1e-5)
    assert taps.keys() == {"block1", "block2", "pre_logits"}


def test_the_head_is_told_the_arrangement():
    patches = random_images(9)
    network = Network(tiny(), Jigsaw(5, 4, embedding=6, hidden=8).head(jnp.float32))
    upright = np.arange(9)[None, None]
    turned = upright[..., ::-1]
    variables = init(network, patches, upright)
    one, other = (outputs_of(network, variables, patches, order) for order in (upright, turned))
    moved = outputs_of(network, variables, patches[::-1], turned)
    assert one.shape == (1, 100)
    np.testing.assert_allclose(one, moved, rtol=1e-4, atol=1e-5)
    assert abs(one - other).max() > 0.01


@pytest.mark.parametrize("standardize", [True, False])
def test_a_network_in_bfloat16_has_outputs_and_weights_in_float32(standardize: bool):
    network, images = (
        Network(tiny(jnp.bfloat16), LinearHead(4, jnp.bfloat16), standardize),
        random_images(2),
    )
    variables = init(network, images)
    assert outputs_of(network, variables, images).dtype == jnp.float32
    assert taps_of(network, variables, images)["block1"].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
