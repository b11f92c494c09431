"""Networks so small that a training step compiles in a moment, and systems made of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.models.network import Network
from lens_jax.train.system import System


class TinyExtractor(nn.Module):
    """A dense layer on all pixels, and BatchNorm."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        x = images.reshape(len(images), -1)
        x = nn.Dense(6, dtype=self.dtype)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype)(x)
        return {"pre_logits": nn.tanh(x)}


class TinyLens(nn.Module):
    """Two dense layers on the colors of each pixel; like the U-Net, it starts as the identity."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = nn.tanh(nn.Dense(4, dtype=self.dtype)(images))
        return images + nn.Dense(3, dtype=self.dtype, kernel_init=nn.initializers.zeros)(x)


def with_tiny_networks(system: System, dtype: Any = jnp.float32) -> System:
    """The system with the networks above in place of its own; task and head stay what they are."""
    network = Network(TinyExtractor(dtype), system.network.head, system.network.standardize)
    lens_network = None if system.lens_network is None else TinyLens(dtype)
    return system._replace(network=network, lens_network=lens_network)


def random_like(shapes: Any, seed: int = 0) -> Any:
    """Float64 in place of every floating-point array, so that nothing starts as it usually does."""
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        return jnp.asarray(rng.normal(scale=0.4, size=leaf.shape))

    return jax.tree.map(draw, shapes)


def random_batch(count: int, seed: int = 0, side: int = 8) -> dict[str, np.ndarray]:
    """Images of noise with labels of three classes."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        "label": rng.integers(0, 3, count).astype(np.int32),
        "index": np.arange(count, dtype=np.int32),
    }


def assert_close(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    """Asserts that trees are alike, relative to the largest number of each float64 array."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    leaves = jax.tree_util.tree_leaves_with_path(found)
    for (path, a), b in zip(leaves, jax.tree.leaves(expected), strict=True):
        name = jax.tree_util.keystr(path)
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype, name
        if not np.issubdtype(a.dtype, np.floating):
            np.testing.assert_array_equal(a, b, name)
            continue
        assert a.dtype == np.float64, name
        assert abs(a - b).max() <= rtol * abs(b).max() + 1e-13, name


def largest(tree: Any) -> float:
    """The largest absolute value in a tree."""
    return max(float(abs(leaf).max()) for leaf in jax.tree.leaves(tree))
