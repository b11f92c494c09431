"""The parts that a config names, put together: task, networks, and how a batch becomes views."""

import enum
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.lens.unet import UNet
from lens_jax.models.network import Network
from lens_jax.models.resnet import make_resnet
from lens_jax.ops import color, shortcuts
from lens_jax.tasks import make_task
from lens_jax.tasks.base import Batch, Task, Views

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


class Purpose(enum.IntEnum):
    """What a random key is for; keys are fold_in(fold_in(key(seed), step), purpose)."""

    NETWORK = 0
    LENS = 1
    FLIP = 2
    COLOR = 3
    VIEWS = 4
    GRAY = 5
    DROPOUT = 6
    ATTACK = 7


class System(NamedTuple):
    """What a config names, built.

    Attributes:
      task: what is learned.
      network: the extractor and the head that learn it.
      lens: the network before them, None where `lens.kind` is another.
      split: whether BatchNorm keeps statistics of lensed and of raw inputs apart; `batch_stats` is
        then a dictionary of the two.

    """

    task: Task
    network: Network
    lens: UNet | None
    split: bool = False


def make_system(config: "ConfigDict", num_classes: int) -> System:
    """Builds what `config` describes; raises `UserError` for a name it does not know."""
    dtype = jnp.dtype(config.dtype)
    options = {key: value for key, value in config.task.items() if key != "name"}
    task = make_task(config.task.name, options, num_classes)
    model, lens = config.model, config.lens
    extractor = make_resnet(
        model.name,
        stem=model.stem,
        width=model.width,
        last_stride=model.last_stride,
        dtype=dtype,
        remat=config.remat,
    )
    return System(
        task,
        Network(extractor, task.head(dtype), model.standardize),
        _make_lens(lens, dtype, config.remat) if lens.kind == "network" else None,
        lens.kind != "none" and lens.batch_norm == "split",
    )


def _make_lens(lens: "ConfigDict", dtype: Any, remat: bool) -> UNet:
    epsilon = lens.epsilon if lens.budget == "bound" else None
    return UNet(lens.widths, lens.blocks, lens.patch, dtype, epsilon, remat)


def make_key(seed: int, step: jax.Array | int, purpose: Purpose) -> jax.Array:
    """The key for one purpose at one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), purpose)


def prepare(config: "ConfigDict", batch: Batch, step: jax.Array | int) -> Batch:
    """A training batch of uint8 images -> images in [-1, 1], the shortcut drawn, some of them gray."""
    images = shortcuts.inject(config.shortcut, color.to_unit(batch["image"])).images
    if config.augment.gray:
        key = make_key(config.seed, step, Purpose.GRAY)
        images = color.random_gray(key, images, config.augment.gray)
    return batch | {"image": images}


def make_views(config: "ConfigDict", task: Task, batch: Batch, step: jax.Array | int) -> Views:
    """The task's views of a prepared training batch, a function of seed and step."""

    def augment(images: jax.Array) -> jax.Array:
        if config.augment.flip:
            images = color.random_flip(make_key(config.seed, step, Purpose.FLIP), images)
        if config.augment.color:
            images = color.distort_color(make_key(config.seed, step, Purpose.COLOR), images)
        return images

    return task.views(make_key(config.seed, step, Purpose.VIEWS), batch, augment)
