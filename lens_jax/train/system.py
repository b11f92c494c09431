"""What a config describes, put together: task, networks, lens, and how a batch becomes views."""

import enum
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.lens.lens import Lens
from lens_jax.lens.unet import UNet
from lens_jax.models.network import Network
from lens_jax.models.resnet import make_resnet
from lens_jax.ops import color, shortcuts
from lens_jax.ops.augment import Augmentation, Augmented, make_augmentations
from lens_jax.tasks import make_task
from lens_jax.tasks.base import (
    Augment,
    Batch,
    DataFacts,
    Target,
    Task,
    Views,
    join_views,
    split_views,
)
from lens_jax.tasks.non_semantic import TEXTURE, reads_textures
from lens_jax.train.probe import Probe, make_probe

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


class Purpose(enum.IntEnum):
    """What a random key is for; keys are fold_in(fold_in(key(seed), step), purpose)."""

    NETWORK = 0
    LENS = 1
    AUGMENT = 2
    MEMORY = 3
    VIEWS = 4
    DROPOUT = 6
    ATTACK = 7
    VALIDATION = 8
    SHUFFLE = 9


class System(NamedTuple):
    """What a config describes, built.

    Attributes:
      task: what is learned.
      network: the extractor, and the head that learns the task.
      target: which views the target network sees and how it is averaged; None without one.
      lens: what alters the inputs.
      lens_network: the network that does so; None where something else does, or nothing.
      augmentations: one for the first view of an image, one for all later views.
      monitored: whether the step also computes what is watched.
      probe: the linear classifier that learns beside the network; None without labels.
      shuffled: whether training shuffles the answers among the images, see `shuffle_answers`.

    """

    task: Task
    network: Network
    target: Target | None
    lens: Lens
    lens_network: UNet | None
    augmentations: tuple[Augmentation, ...]
    monitored: bool
    probe: Probe | None
    shuffled: bool


def make_system(config: "ConfigDict", facts: DataFacts, total_steps: int) -> System:
    """Builds what `config` describes, for a training of `total_steps`.

    Raises `UserError` for a name that is not known, and for parts that do not fit together.
    """
    dtype = jnp.dtype(config.dtype)
    task = build_task(config, facts)
    lens = Lens(**config.lens)
    lens.make_objective(task.has_logits)  # raises now, rather than while tracing

    if reads_textures(config.task) and lens.acts_on == "images" and lens.kind != "none":
        raise UserError(
            "task.non_semantic is 'texture' and lens.acts_on 'images': the lens would not see the "
            "textures, which its traces would then tell from images; set lens.acts_on=views"
        )

    model = config.model
    _check_groups(model.batch_norm_group, lens)
    extractor = make_resnet(
        model.name,
        stem=model.stem,
        width=model.width,
        last_stride=model.last_stride,
        dtype=dtype,
        remat=config.remat,
        zero_init_residual=model.zero_init_residual,
        batch_norm_group=model.batch_norm_group,
    )
    head = task.head(dtype)
    target = task.target(total_steps)
    if target is not None and not hasattr(head, "target"):
        raise UserError(
            f"task {config.task.name!r} has a target network, but its head has no method 'target': "
            "give the head one, such as that of lens_jax.models.heads.MLP"
        )
    return System(
        task=task,
        network=task.network(
            extractor,
            head,
            standardize=model.standardize,
            batch_norm_group=model.batch_norm_group,
        ),
        target=target,
        lens=lens,
        lens_network=lens.make_network(dtype, config.remat),
        augmentations=make_augmentations(config.augment),
        monitored=config.train.monitors,
        probe=make_probe(facts.num_classes) if config.train.monitors else None,
        shuffled=config.shuffle_answers,
    )


def build_task(config: "ConfigDict", facts: DataFacts) -> Task:
    """The task of a config, on data of which `facts` are known; what the config says is added.

    Raises `UserError` for options that it cannot have.
    """
    facts = facts._replace(
        image_size=config.data.image_size,
        augmentations=make_augmentations(config.augment),
    )
    return make_task(config.task, facts)


def _check_groups(group: int, lens: Lens) -> None:
    """Raises `UserError` for groups of statistics that would be joint in name only."""
    if group and len(lens.kinds) > 1 and not lens.split:
        raise UserError(
            f"model.batch_norm_group is {group}: groups hold lensed inputs or raw ones, so that "
            "their statistics are never joint: set lens.batch_norm=split or lens.raw_fraction=0.0"
        )


def make_key(seed: int, step: jax.Array | int, purpose: Purpose) -> jax.Array:
    """The key for one purpose at one step."""
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.random.fold_in(step_key, purpose)


def prepare(config: "ConfigDict", batch: Batch) -> Batch:
    """A batch of uint8 images -> images in [-1, 1] with the planted shortcut; textures without."""
    prepared = dict(batch)
    # A pair's other image, where there is one, is treated alike.
    for name in ("image", "partner"):
        if name in batch:
            images = color.to_unit(batch[name])
            prepared[name] = shortcuts.inject(config.shortcut, images).images
    if TEXTURE in batch:
        prepared[TEXTURE] = color.to_unit(batch[TEXTURE])
    return prepared


def make_augment(system: System, seed: int, step: jax.Array | int) -> Augment:
    """The augmentation of a training step: each view has its own settings and its own draws."""

    def augment(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        later = len(system.augmentations) - 1
        augmentation = system.augmentations[min(view, later)]
        step_key = make_key(seed, step, Purpose.AUGMENT)
        view_key = jax.random.fold_in(step_key, view)

        count, height, width, _ = images.shape
        drawn = augmentation.draw(view_key, count, height, width)
        augmented = augmentation.apply(images, drawn, size)
        return Augmented(augmented, drawn.vector())

    return augment


def make_views(system: System, batch: Batch, seed: int, step: jax.Array | int) -> Views:
    """The task's views of a prepared training batch, a function of seed and step."""
    key = make_key(seed, step, Purpose.VIEWS)
    views = system.task.views(key, batch, make_augment(system, seed, step))
    if not system.shuffled:
        return views
    shuffle_key = make_key(seed, step, Purpose.SHUFFLE)
    return shuffle_answers(shuffle_key, views, len(batch["image"]))


def shuffle_answers(key: jax.Array, views: Views, images: int) -> Views:
    """Views whose answers are those of others, drawn anew in each step: nothing can be learned.

    The labels of all views of the batch are shuffled. A task without labels has to find views of
    one image: there, each image's later views are those of another one.
    """
    if views.labels is not None:
        order = jax.random.permutation(key, len(jax.tree.leaves(views.labels)[0]))
        # A batch of zeros, by which the state's shapes are found, is not on a device.
        labels = jax.tree.map(lambda each: jnp.take(each, order, axis=0), views.labels)
        return views._replace(labels=labels)

    first, *later = split_views(views.inputs, len(views.inputs) // images)
    order = jax.random.permutation(key, images)
    return views._replace(inputs=join_views(first, *[view[order] for view in later]))
