"""Networks so small that a training step compiles in a moment, and systems made of them."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from lens_jax.models.network import JigsawNetwork
from lens_jax.tasks.base import DataFacts
from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, lens_optimizer
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.step import Step, make_step
from lens_jax.train.system import System, make_system

# A training of 1000 steps on 1000 examples of three classes.
FACTS = DataFacts(3, 1000)
TOTAL_STEPS = 1000


class TinyExtractor(nn.Module):
    """A dense layer on all pixels, and BatchNorm."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        x = images.reshape(len(images), -1)
        x = nn.Dense(6, dtype=self.dtype)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype)(x)
        return {"pre_logits": nn.tanh(x)}


class TinyConvolution(nn.Module):
    """For inputs of several sizes: a convolution, BatchNorm, and the mean over all places."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        x = nn.Conv(6, (2, 2), dtype=self.dtype)(images)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype)(x)
        return {"pre_logits": jnp.mean(nn.tanh(x), axis=(1, 2))}


class TinyLens(nn.Module):
    """Two dense layers on the colors of each pixel; like the U-Net, it starts as the identity."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = nn.tanh(nn.Dense(4, dtype=self.dtype)(images))
        return images + nn.Dense(3, dtype=self.dtype, kernel_init=nn.initializers.zeros)(x)


def with_tiny_networks(system: System, dtype: Any = jnp.float32) -> System:
    """The system with the networks above in place of its own; task and head stay what they are."""
    several_sizes = isinstance(system.network, JigsawNetwork)
    extractor = TinyConvolution(dtype) if several_sizes else TinyExtractor(dtype)
    network = system.network.clone(extractor=extractor)
    lens_network = None if system.lens_network is None else TinyLens(dtype)
    return system._replace(network=network, lens_network=lens_network)


class Built(NamedTuple):
    """What a config comes to: its system and optimizers, and the jitted functions."""

    system: System
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation]
    init: Callable[[], TrainState]
    step: Step


def build(
    config: ConfigDict,
    shrink: Callable[[System, Any], System] = with_tiny_networks,
    facts: DataFacts = FACTS,
) -> Built:
    """Builds a config, with tiny networks unless `shrink` does something else."""
    system = shrink(make_system(config, facts, TOTAL_STEPS), jnp.dtype(config.dtype))
    clock = Clock(config.data.batch_size, facts.size, TOTAL_STEPS)
    optimizers = (extractor_optimizer(config, clock), lens_optimizer(config))
    init = jax.jit(partial(init_state, config, system, *optimizers))
    return Built(system, optimizers, init, jax.jit(make_step(config, system, *optimizers)))


def with_own_networks(system: System, dtype: Any) -> System:
    """The system as it is."""
    del dtype
    return system


def random_like(shapes: Any, seed: int = 0) -> Any:
    """Random numbers in place of every floating-point array, of float64 under x64."""
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        return jnp.asarray(rng.normal(scale=0.4, size=leaf.shape))

    return jax.tree.map(draw, shapes)


def random_state(built: Built) -> TrainState:
    """A state of random numbers whose optimizers have not moved yet, of float64 under x64."""
    state = random_like(jax.eval_shape(built.init))
    optimizers = (state.opt_state, state.lens_opt_state)
    opt_state, lens_opt_state = jax.tree.map(jnp.zeros_like, optimizers)
    probe = state.probe
    if probe:
        still = jax.tree.map(jnp.zeros_like, probe["opt_state"])
        probe = probe | {"opt_state": still}
    return state.replace(
        opt_state=opt_state,
        lens_opt_state=lens_opt_state,
        lens_penalty=jnp.asarray(7.0),
        probe=probe,
    )


def random_batch(count: int, seed: int = 0, side: int = 16) -> dict[str, np.ndarray]:
    """Images of noise with labels of three classes.

    Each color is 0 or 255, that is -1 or 1, so that no two programs round it differently.
    """
    rng = np.random.default_rng(seed)
    return {
        "image": 255 * rng.integers(0, 2, (count, side, side, 3), dtype=np.uint8),
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
