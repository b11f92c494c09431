"""The parts that a config names, put together: task, networks, and how a batch becomes views."""

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lens_jax.lens.unet import UNet
from lens_jax.models.network import Network
from lens_jax.models.resnet import make_resnet
from lens_jax.ops import colour, shortcuts
from lens_jax.tasks import make_task
from lens_jax.tasks.base import Batch, Task, Views


class Purpose(enum.IntEnum):
    """What a random key is for; keys are fold_in(fold_in(key(seed), step), purpose)."""

    NETWORK = 0
    LENS = 1
    FLIP = 2
    COLOUR = 3
    VIEWS = 4


class System(NamedTuple):
    """A task, the network (extractor and head) that learns it, and the lens before it, if any."""

    task: Task
    network: Network
    lens: UNet | None


def make_system(config: ConfigDict, num_classes: int) -> System:
    """Builds what `config` describes; raises `UserError` for a name it does not know."""
    dtype = jnp.dtype(config.dtype)
    options = {key: value for key, value in config.task.items() if key != "name"}
    task = make_task(config.task.name, options, num_classes)
    model, lens = config.model, config.lens
    extractor = make_resnet(model.name, width=model.width, stem=model.stem, dtype=dtype)
    return System(
        task,
        Network(extractor, task.head(dtype)),
        UNet(lens.widths, lens.blocks, lens.patch, dtype) if lens.enabled else None,
    )


def make_key(seed: int, step: jax.Array | int, purpose: Purpose) -> jax.Array:
    """The key for one purpose at one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), purpose)


def make_views(config: ConfigDict, task: Task, batch: Batch, step: jax.Array) -> Views:
    """A training batch (uint8 images) -> shortcut, augmentation and views, in this order."""
    images = shortcuts.inject(config.shortcut, colour.to_unit(batch["image"])).images
    if config.augment.flip:
        images = colour.random_flip(make_key(config.seed, step, Purpose.FLIP), images)
    if config.augment.colour:
        images = colour.distort_colour(make_key(config.seed, step, Purpose.COLOUR), images)
    return task.views(make_key(config.seed, step, Purpose.VIEWS), batch | {"image": images}, train=True)
