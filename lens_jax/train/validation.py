"""What a task measures on test images: views as in training, and one operation at a time."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lens_jax.devices import mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.ops import color
from lens_jax.ops.alone import alone, union
from lens_jax.ops.augment import Augmentation, Augmented
from lens_jax.tasks.base import Augment, Batch, Outputs
from lens_jax.train.division import choose_views
from lens_jax.train.monitors import alter, variables_of
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, System, make_key
from lens_jax.workdir.metrics import Scalars

# The augmentation of each view.
Trial = tuple[Augmentation, ...]
Sums = tuple[dict[str, jax.Array], jax.Array]


class Validation:
    """The means of what a task has of each image, see `Task.validate`, over the same images.

    Their views are made as in training, and then by one operation of the augmentation alone; every
    pass draws the same. All processes call its methods together.
    """

    def __init__(
        self,
        system: System,
        seed: int,
        devices: Mesh,
        open_batches: Callable[[], Iterable[Batch]],
    ):
        """`open_batches` begins a pass over the images, with the masks of those that count."""
        self._devices = devices
        self._open_batches = open_batches
        self._trials: dict[str, Trial] = {"": system.augmentations} | alone(system.augmentations)
        self._validate = partial(validate_batch, system, tuple(self._trials.values()), seed)
        self._program: jax.stages.Compiled | None = None

    def compile(self, state: TrainState) -> None:
        """Compiles what is computed, one program for all ways to make views."""
        jitted = jax.jit(
            self._validate,
            out_shardings=mesh.replicated(self._devices),
            compiler_options=compiler_options(),
        )
        batch = next(iter(self._open_batches()))
        placed = mesh.put_batch(self._devices, batch)
        first = np.int32(0)
        self._program = jitted.lower(state, placed, first, first).compile()

    def measure(self, state: TrainState) -> Scalars:
        """The means by name, such as "test_NAME" and, for one operation, "test_NAME_flip".

        None where no image decodes. `compile` must come before.
        """
        totals = defaultdict(float)
        images = 0.0
        for number, batch in enumerate(self._open_batches()):
            placed = mesh.put_batch(self._devices, batch)
            for trial, operation in enumerate(self._trials):
                found = self._program(state, placed, np.int32(number), np.int32(trial))
                sums, count = jax.device_get(found)
                suffix = f"_{operation}" if operation else ""
                for name, value in sums.items():
                    totals[f"test_{name}{suffix}"] += float(value)
            images += float(count)
        if images == 0:
            return {}
        return {name: total / images for name, total in totals.items()}


def validate_batch(
    system: System,
    trials: Sequence[Trial],
    seed: int,
    state: TrainState,
    batch: Batch,
    number: jax.Array,
    trial: jax.Array,
) -> Sums:
    """The sums over a batch of the numbers that the task has of each image, and how many they are.

    As `monitors.compute_features` by running statistics, without a planted shortcut, and lensed
    only where the network never sees raw images.

    Args:
      system: with a task that validates.
      trials: how views can be made.
      seed: decides, with `number`, what is drawn.
      state: the networks.
      batch: uint8 images, and the mask of those that count.
      number: that of the batch.
      trial: index of the one in `trials` that views are made by.

    """
    key = make_key(seed, number, Purpose.VALIDATION)
    augment = augment_by(trials, trial, key)
    images = alter(system, state, color.to_unit(batch["image"]), "images")
    views = system.task.views(key, batch | {"image": images}, augment)
    inputs = alter(system, state, views.inputs, "views")

    # As in training, the network sees some of the views.
    views = views._replace(inputs=inputs, labels=None)
    per_image = len(inputs) // len(images)
    seen = choose_views(views, system.task.online_views, per_image)
    variables = variables_of(system, state)
    outputs = system.network.apply(variables, seen.inputs, seen.context, train=False)

    mask = batch["mask"]
    sums = {}
    for name, values in system.task.validate(Outputs(outputs)).items():
        counted = jnp.where(mask, values, 0)
        sums[name] = jnp.sum(counted)
    return sums, jnp.sum(mask)


def augment_by(trials: Sequence[Trial], trial: jax.Array, key: jax.Array) -> Augment:
    """The augmentation of one of the trials, whose index is not known before it runs.

    One program serves all: each trial draws its parameters, which is cheap, and those of the chosen
    one are applied.
    """

    def augment(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        later = len(trials[0]) - 1
        of_view = [augmentations[min(view, later)] for augmentations in trials]
        view_key = jax.random.fold_in(key, view)
        count, height, width, _ = images.shape
        drawn = [each.draw(view_key, count, height, width) for each in of_view]

        def choose(*options: jax.Array) -> jax.Array:
            return jnp.stack(options)[trial]

        chosen = jax.tree.map(choose, *drawn)
        augmented = union(of_view).apply(images, chosen, size)
        return Augmented(augmented, chosen.vector())

    return augment
