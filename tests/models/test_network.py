from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.models.heads import MLP, LinearHead, PatchHead, PredictorHead
from lens_jax.models.network import NegativesNetwork, Network, standardized
from lens_jax.models.resnet import BasicBlock, ResNet


def tiny(dtype=jnp.float32) -> ResNet:
    return ResNet((1, 1), BasicBlock, width=4, stem="patch", dtype=dtype)


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 16, 16, 3)).astype(np.float32)


def init(network: Network, images: np.ndarray, context: np.ndarray | None = None) -> dict:
    key = jax.random.key(0)
    return jax.jit(lambda x: network.init(key, x, context, train=False))(images)


def outputs_of(network: Network, variables: dict, images: np.ndarray, context=None) -> jax.Array:
    return jax.jit(lambda v, x: network.apply(v, x, context, train=False))(variables, images)


def taps_of(network: Network, variables: dict, images: np.ndarray) -> dict[str, jax.Array]:
    return jax.jit(lambda v, x: network.apply(v, x, train=False, method="taps"))(variables, images)


def test_standardized_images_are_those_of_a_loop(x64):
    images = np.random.default_rng(0).normal(0.3, 0.2, (4, 5, 6, 3))
    images[1] *= 1e-3  # so faint that the bound counts
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
    centered = weights - weights.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(gradient, centered * 48**0.5, rtol=1e-3, atol=1e-3)


def test_a_network_that_standardizes_ignores_brightness_and_contrast():
    images = random_images(3)
    sharp, plain = (Network(tiny(), LinearHead(3), standardize) for standardize in (True, False))
    variables = init(sharp, images)
    scaled = 0.4 * images - 0.2
    for read in (outputs_of, lambda *each: taps_of(*each)["block1"]):
        one, other = read(sharp, variables, images), read(sharp, variables, scaled)
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
        centered = images - images.mean((1, 2, 3), keepdims=True)
        by_hand = centered / images.std((1, 2, 3), keepdims=True)
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


def test_the_head_receives_the_context():
    patches = random_images(9)
    network = Network(tiny(), PatchHead(100, embedding=6, hidden=8))
    upright = np.arange(9)[None, None]
    turned = upright[..., ::-1]
    variables = init(network, patches, upright)
    one, other = (outputs_of(network, variables, patches, order) for order in (upright, turned))
    moved = outputs_of(network, variables, patches[::-1], turned)
    assert one.shape == (1, 100)
    np.testing.assert_allclose(one, moved, rtol=1e-4, atol=1e-5)
    assert abs(one - other).max() > 0.01


@pytest.mark.parametrize("standardize", [True, False])
def test_the_target_is_that_of_the_head_on_the_pooled_features(standardize: bool, x64):
    dtype = jnp.float64
    head = PredictorHead(projector=MLP((6, 5), dtype), predictor=MLP((4, 5), dtype))
    network, images = Network(tiny(dtype), head, standardize), random_images(4)
    variables = init(network, images)
    params, stats = variables["params"], variables["batch_stats"]

    def train(module: nn.Module, params: dict, stats: dict, *inputs, method=None) -> tuple:
        """Outputs, and the statistics that are returned."""
        variables = {"params": params, "batch_stats": stats}
        options = {"train": True, "mutable": ["batch_stats"], "method": method}
        outputs, updated = module.apply(variables, *inputs, **options)
        return outputs, updated["batch_stats"]

    inputs = standardized(images) if standardize else images
    extractor = params["extractor"], stats["extractor"]
    taps, extractor_stats = train(tiny(dtype), *extractor, inputs)
    projector = params["head"]["projector"], stats["head"]["projector"]
    expected, projector_stats = train(MLP((6, 5), dtype), *projector, taps["pre_logits"], None)

    found, updated = train(network, params, stats, images, None, method="target")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    # The predictor did not run, and its statistics are returned as they were.
    expected_head = {"projector": projector_stats, "predictor": stats["head"]["predictor"]}
    expected_stats = {"extractor": extractor_stats, "head": expected_head}
    assert jax.tree.structure(updated) == jax.tree.structure(expected_stats)
    for one, other in zip(jax.tree.leaves(updated), jax.tree.leaves(expected_stats), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("standardize", [True, False])
def test_a_network_in_bfloat16_has_outputs_and_weights_in_float32(standardize: bool):
    network = Network(tiny(jnp.bfloat16), LinearHead(4, jnp.bfloat16), standardize)
    images = random_images(2)
    variables = init(network, images)
    assert outputs_of(network, variables, images).dtype == jnp.float32
    assert taps_of(network, variables, images)["block1"].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("keys", [1, 2])
def test_keys_and_negatives_are_normalized_apart_and_keys_come_last(keys: int):
    """As two passes of the plain network would have it, of which the second goes on with the first.

    Each image has `keys` keys, and then as many negatives.
    """
    head = MLP((8, 3), norm=False)
    both = NegativesNetwork(tiny(), head, keys=keys)
    plain = Network(tiny(), head)
    images = random_images(5 * 2 * keys)
    by_image = images.reshape(5, 2, keys, 16, 16, 3)
    by_image[:, 1] **= 3  # of other statistics
    variables = init(plain, images)

    @partial(jax.jit, static_argnames="network")
    def target(network: Network, stats: dict, inputs: np.ndarray) -> tuple[jax.Array, dict]:
        outputs, updated = network.apply(
            variables | {"batch_stats": stats},
            inputs,
            None,
            train=True,
            method="target",
            mutable=["batch_stats", "intermediates"],
        )
        return outputs, updated["batch_stats"]

    found, stats = target(both, variables["batch_stats"], images)
    halves = [by_image[:, half].reshape(-1, 16, 16, 3) for half in (0, 1)]
    negatives, between = target(plain, variables["batch_stats"], halves[1])
    expected, after = target(plain, between, halves[0])
    by_image = found.reshape(5, 2, -1)
    np.testing.assert_allclose(by_image[:, 0].reshape(-1, 3), expected, atol=1e-5)
    np.testing.assert_allclose(by_image[:, 1].reshape(-1, 3), negatives, atol=1e-5)
    for one, other in zip(jax.tree.leaves(stats), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
