"""Whether MoCo can be solved through the statistics of BatchNorm, without seeing the image.

A convolution reads them where all images are alike, such as in a black corner: there, what is
normalized is the group's mean and nothing else. `Signature` outputs only that.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.models.batch_norm import BatchNorm
from lens_jax.models.network import Network
from lens_jax.train.system import System
from tests.train.tiny import build, random_batch, with_own_networks

IMAGES = 64
GROUP = 8
QUEUE = 256
CONTENT, CORNER = 0, 1


class Signature(nn.Module):
    """What BatchNorm makes of the image, or of a place that is black in all images."""

    place: int
    group: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        content = nn.Dense(8, use_bias=False)(images.reshape(len(images), -1))
        places = jnp.stack([content, jnp.zeros_like(content)], axis=1)
        normed = BatchNorm(use_running_average=not train, group=self.group)(places)
        return {"pre_logits": normed[:, self.place]}


class Identity(nn.Module):
    """Compares the features themselves."""

    def __call__(self, features: jax.Array, context: Any, train: bool) -> jax.Array:
        return features

    target = __call__


def accuracy(tiny_config, place: int, group: int, spread: bool) -> float:
    """How often a query finds its key among those of earlier batches, by a network at rest."""

    def shrink(system: System, dtype: Any) -> System:
        network = Network(
            Signature(place, group), Identity(), batch_norm_group=group if spread else 0
        )
        return system._replace(network=network)

    config = tiny_config(
        {
            "data.image_size": 8,
            "data.batch_size": IMAGES,
            "lens.kind": "none",
            "optimizer.learning_rate": 0.0,
        },
        {"name": "moco", "hidden": 8, "embedding": 8, "queue": QUEUE},
    )
    built = build(config, shrink)
    state = built.init()
    rng = np.random.default_rng(0)
    for _ in range(1 + QUEUE // IMAGES):
        # Nothing is drawn: both views of an image are the image.
        batch = {
            "image": rng.integers(0, 256, (IMAGES, 8, 8, 3), np.uint8),
            "label": np.zeros(IMAGES, np.int32),
            "index": np.arange(IMAGES, dtype=np.int32),
        }
        state, metrics = built.step(state, batch)
    return float(metrics["accuracy_raw"])


@pytest.mark.parametrize("group", [0, GROUP], ids=["of the batch", "of the same groups"])
def test_shared_statistics_tell_the_key_to_a_network_that_sees_no_image(tiny_config, group: int):
    assert accuracy(tiny_config, CORNER, group, spread=False) > 0.99


def test_statistics_of_other_images_do_not(tiny_config):
    assert accuracy(tiny_config, CORNER, GROUP, spread=True) < 0.1


def test_keys_of_other_groups_are_still_those_of_their_images(tiny_config):
    assert accuracy(tiny_config, CONTENT, GROUP, spread=True) > 0.9


def test_groups_that_do_not_divide_the_batch_are_refused_before_anything_is_computed(tiny_config):
    changes = {"lens.kind": "none", "data.batch_size": 10, "model.batch_norm_group": 16}
    config = tiny_config(changes)
    built = build(config, with_own_networks)
    with pytest.raises(UserError, match="batch_norm_group is 16: it must divide the 40 inputs"):
        jax.eval_shape(built.step, jax.eval_shape(built.init), random_batch(10))


def test_groups_of_one_kind_are_not_called_joint(tiny_config):
    changes = {"lens.kind": "network", "model.batch_norm_group": 4}
    with pytest.raises(UserError, match="joint: set lens"):
        build(tiny_config(changes))
    for allowed in ({"lens.batch_norm": "split"}, {"lens.raw_fraction": 0.0}):
        build(tiny_config(changes | allowed))
