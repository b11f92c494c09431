"""A trained network and its lens, read from a checkpoint and never changed again."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.data.records import Source
from lens_jax.devices.compiler import compiler_options
from lens_jax.errors import UserError, check_choice
from lens_jax.eval.passes import run_pass
from lens_jax.lens.lens import LENSED, RAW
from lens_jax.ops import color, shortcuts
from lens_jax.tasks.base import Batch, DataFacts, Outputs, Views
from lens_jax.train import optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.system import Purpose, System, make_key, make_system
from lens_jax.workdir import checkpoints

NETWORKS = ("online", "target")

Counts = tuple[jax.Array, jax.Array]


class Frozen(NamedTuple):
    """A checkpoint: the parts that its config names, and their state.

    Weights that were imported or exported are one too, of an extractor and perhaps a lens, see
    `eval.weights`. They have no head: what needs it calls `weights.check_head` first.

    Jitted functions take the state as an argument and use `frozen._replace(state=state)` within.
    As a constant it would be compiled in, slowly, and XLA's CPU backend miscompiles convolutions
    by constant zeros.

    Attributes:
      step: the step of training at which it was saved.
      config: the config of its run, locked.
      run: its `run` object, see `workdir.checkpoints`; `weights.RUN_KEYS` and "weights" of weights.
      system: the task and the networks.
      state: their parameters and statistics.

    """

    step: int
    config: ConfigDict
    run: dict[str, Any]
    system: System
    state: TrainState

    @property
    def has_head(self) -> bool:
        """Whether the head that learned the task is there, as it is in the checkpoints of a run."""
        return "weights" not in self.run


class LensEffect(NamedTuple):
    """What a lens does to N views.

    Attributes:
      inputs: the views before the lens, [N, h, w, 3] in [-1, 1].
      lensed: the same views after it, not clipped.
      mask: which pixels belong to the shortcut, bool [N, h, w].

    """

    inputs: np.ndarray
    lensed: np.ndarray
    mask: np.ndarray


def load(workdir: str, step: int | None = None) -> Frozen:
    """Reads a checkpoint of `workdir`, by default the newest that is intact.

    Raises `UserError` where there is none, or where the one at `step` is damaged.
    """
    steps = [step]
    if step is None:
        steps = checkpoints.saved_steps(workdir)
    error = UserError(f"no checkpoint in {workdir}: train first, or give the right folder")
    # From the newest backwards, as long as they are damaged.
    for candidate in reversed(steps):
        try:
            return _load(workdir, candidate)
        except checkpoints.DamagedError as damaged:
            error = damaged
            if step is None:
                print(f"{damaged}; passing it over", flush=True)
    raise error


def _load(workdir: str, step: int) -> Frozen:
    with contextlib.closing(checkpoints.open_checkpoints(workdir)) as manager:
        # What was saved beside the state says which networks to build.
        run = checkpoints.read_run(manager, step)
        config, system = make_parts(run)

        # Their shapes are compared with the saved ones.
        shapes = state_shapes(config, system)
        restored = checkpoints.restore(manager, step, shapes)
    return Frozen(step, config, run, system, restored.state)


def make_parts(run: dict[str, Any]) -> tuple[ConfigDict, System]:
    """The config of a `run` object, and what its classes, examples and steps make of it."""
    config = configs.from_json(run["config"])
    facts = DataFacts(num_classes=len(run["class_names"]), size=run["examples"])
    return config, make_system(config, facts, run["total_steps"])


def state_shapes(config: ConfigDict, system: System) -> TrainState:
    """The shapes of the state that a training of `config` would have."""
    # Any durations will do: the shapes do not depend on them.
    clock = Clock(batch_size=1, epoch_size=1, total_steps=1)
    extractor_optimizer = optimizers.extractor_optimizer(config, clock)
    lens_optimizer = optimizers.lens_optimizer(config)
    init = partial(init_state, config, system, extractor_optimizer, lens_optimizer)
    return jax.eval_shape(init)


def check_network(system: System, network: str) -> None:
    """Raises `UserError` for a network that is unknown, or that a run of `system` does not have."""
    check_choice("network", network, NETWORKS)
    if network == "target" and system.target is None:
        raise UserError(
            "network 'target' is the averaged one of methods such as moco and byol, and this run "
            "has none: choose online"
        )


def choose_network(frozen: Frozen, network: str) -> Frozen:
    """The checkpoint with the chosen network, of `NETWORKS`, as the one that is evaluated.

    "online" is the network that was trained, "target" the one with averaged parameters and with
    the statistics of what it saw itself. Raises `UserError` where there is no such network.
    """
    check_network(frozen.system, network)
    if network == "online":
        return frozen
    state = frozen.state
    chosen = state.replace(params=state.target_params, batch_stats=state.target_stats)
    return frozen._replace(state=chosen)


def apply_lens(frozen: Frozen, images: jax.Array) -> jax.Array:
    """Images [N, h, w, 3] in [-1, 1] as the extractor was shown them; unchanged without a lens."""
    lens_network = frozen.system.lens_network
    if lens_network is None:
        return images
    variables = {"params": frozen.state.lens_params}
    return lens_network.apply(variables, images)


def apply_head(frozen: Frozen, views: Views, *, lensed: bool) -> jax.Array:
    """The outputs of the head for a task's views; `lensed` says whether these are lensed."""
    network = frozen.system.network
    variables = _variables(frozen, lensed)
    return network.apply(variables, views.inputs, views.context, train=False)


def apply_extractor(frozen: Frozen, inputs: jax.Array, *, lensed: bool) -> dict[str, jax.Array]:
    """Inputs [N, h, w, 3] in [-1, 1] -> taps by name; `lensed` says whether these are lensed."""
    network = frozen.system.network
    variables = _variables(frozen, lensed)
    return network.apply(variables, inputs, train=False, method="taps")


def _variables(frozen: Frozen, lensed: bool) -> dict[str, Any]:
    """Parameters and running statistics, of raw or lensed inputs where these were kept apart."""
    stats = frozen.state.batch_stats
    if frozen.system.lens.split:
        stats = stats[LENSED if lensed else RAW]
    return {"params": frozen.state.params, "batch_stats": stats}


def eval_views(frozen: Frozen, batch: Batch, shortcut: str, *, lensed: bool) -> Views:
    """The task's views of a batch of uint8 images, through the lens if `lensed`.

    `shortcut` is injected into the images first.
    """
    unit = color.to_unit(batch["image"])
    images = shortcuts.inject(shortcut, unit).images
    if not lensed:
        return _task_views(frozen, batch, images)
    # The lens comes before the task's cutting and turning, or after it.
    if frozen.system.lens.acts_on == "images":
        lensed_images = apply_lens(frozen, images)
        return _task_views(frozen, batch, lensed_images)
    views = _task_views(frozen, batch, images)
    lensed_inputs = apply_lens(frozen, views.inputs)
    return views._replace(inputs=lensed_inputs)


def _task_views(frozen: Frozen, batch: Batch, images: jax.Array) -> Views:
    """The task's views of a batch with other `images`, [B, h, w, 3] in [-1, 1]."""
    task = frozen.system.task
    # Without an augmentation nothing is random, and the key has no effect.
    key = make_key(frozen.config.seed, 0, Purpose.VIEWS)
    batch = batch | {"image": images}
    return task.views(key, batch, None)


def make_lens_effect(frozen: Frozen) -> Callable[[np.ndarray], LensEffect]:
    """Makes the function from uint8 images [B, h, w, 3] to what the lens does to their N views.

    The run's own shortcut is injected into the images first.
    """
    shortcut = frozen.config.shortcut

    @partial(jax.jit, compiler_options=compiler_options())
    def compute(state: TrainState, pixels: jax.Array) -> LensEffect:
        current = frozen._replace(state=state)
        labels = jnp.zeros(len(pixels), jnp.int32)  # the views are the same for all labels
        batch = {"image": pixels, "label": labels}
        raw = eval_views(current, batch, shortcut, lensed=False)
        lensed = eval_views(current, batch, shortcut, lensed=True)

        # The task cuts and turns the mask as it does the images, so that it fits each view.
        unit = color.to_unit(pixels)
        mask = shortcuts.inject(shortcut, unit).mask
        mask_image = jnp.repeat(mask[..., None], 3, axis=-1)
        mask_views = _task_views(frozen, batch, mask_image.astype(unit.dtype))
        view_mask = mask_views.inputs[..., 0] > 0.5
        return LensEffect(raw.inputs, lensed.inputs, view_mask)

    def lens_effect(images: np.ndarray) -> LensEffect:
        effect = compute(frozen.state, images)
        return jax.tree.map(np.asarray, effect)

    return lens_effect


def pretext_accuracy(frozen: Frozen, source: Source, shortcut: str) -> dict[str, float]:
    """The fraction of views whose pretext label is found, "raw" and with a lens also "lensed".

    Measured on all of `source` with `shortcut` injected into every image; empty for a task without
    such labels, for weights without a head, and where no image decodes.
    """
    if not frozen.has_head:
        return {}

    # Other perturbations than a lens are for training alone: images are evaluated as they are.
    kinds = [RAW, LENSED] if frozen.system.lens.trains else [RAW]

    def count(state: TrainState, batch: Batch) -> dict[str, Counts | None]:
        current = frozen._replace(state=state)
        counts = {}
        for kind in kinds:
            counts[kind] = _count_hits(current, batch, shortcut, lensed=kind == LENSED)
        return counts

    # Traced only: whether there is anything to count does not depend on the images.
    data = frozen.config.data
    if None in jax.eval_shape(count, frozen.state, _one_image(data)).values():
        return {}

    # Summed up here, as devices count in 32 bits.
    hits = dict.fromkeys(kinds, 0)
    views = dict.fromkeys(kinds, 0)
    for counts in run_pass(data, source, count, frozen.state):
        for kind in kinds:
            batch_hits, batch_views = counts[kind]
            hits[kind] += int(batch_hits)
            views[kind] += int(batch_views)
    return {kind: hits[kind] / views[kind] for kind in kinds if views[kind]}


def _one_image(data: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch of one image."""
    side = data.image_size
    return {
        "image": jax.ShapeDtypeStruct((1, side, side, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((1,), jnp.int32),
        "index": jax.ShapeDtypeStruct((1,), jnp.int32),
        "mask": jax.ShapeDtypeStruct((1,), bool),
    }


def _count_hits(frozen: Frozen, batch: Batch, shortcut: str, *, lensed: bool) -> Counts | None:
    """How many views are right, and how many there are, in the images of the mask.

    None for a task that has nothing to count.
    """
    views = eval_views(frozen, batch, shortcut, lensed=lensed)
    outputs = Outputs(apply_head(frozen, views, lensed=lensed))
    hits = frozen.system.task.hits(outputs, views.labels)
    if hits is None:
        return None

    # The views of an image lie next to each other: all of them count, or none.
    mask = batch["mask"]
    views_per_image = len(hits) // len(mask)
    counted = jnp.repeat(mask, views_per_image)
    return jnp.sum(hits & counted), jnp.sum(counted)
