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
from lens_jax.data.source import Source
from lens_jax.devices.compiler import compiler_options
from lens_jax.errors import UserError
from lens_jax.eval.passes import run_pass
from lens_jax.ops import color, shortcuts
from lens_jax.tasks.base import Batch, Views
from lens_jax.train import optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.system import Purpose, System, make_key, make_system
from lens_jax.workdir import checkpoints


class Frozen(NamedTuple):
    """A checkpoint: its step, config, `run` object, the parts that the config names, and their
    state.

    Jitted functions take the state as an argument, `frozen._replace(state=state)` within: as a
    constant it would be compiled in, slowly, and XLA's CPU backend miscompiles convolutions by
    constant zeros.
    """

    step: int
    config: ConfigDict
    run: dict[str, Any]
    system: System
    state: TrainState


class LensEffect(NamedTuple):
    """Views before and after the lens, [N, h, w, 3] (the latter not clipped), and the shortcut's mask."""

    inputs: np.ndarray
    lensed: np.ndarray
    mask: np.ndarray


def load(workdir: str, step: int | None = None) -> Frozen:
    """Reads a checkpoint of `workdir`, by default the newest that is intact.

    Raises `UserError` where there is none, or where the one at `step` is damaged.
    """
    steps = checkpoints.saved_steps(workdir) if step is None else [step]
    damage = UserError(f"no checkpoint in {workdir}: train first, or give the right folder")
    for each in reversed(steps):
        try:
            return _load(workdir, each)
        except checkpoints.DamagedError as error:
            damage = error
            if step is None:
                print(f"{error}; passing it over", flush=True)
    raise damage


def _load(workdir: str, step: int) -> Frozen:
    with contextlib.closing(checkpoints.open_checkpoints(workdir)) as manager:
        run = checkpoints.read_run(manager, step)
        config = configs.from_json(run["config"])
        system = make_system(config, len(run["class_names"]))
        # Any durations will do: the shapes of the state do not depend on them.
        both = (
            optimizers.extractor_optimizer(config, Clock(1, 1, 1)),
            optimizers.lens_optimizer(config),
        )
        like = jax.eval_shape(lambda: init_state(config, system, *both))
        return Frozen(step, config, run, system, checkpoints.restore(manager, step, like).state)


def apply_lens(frozen: Frozen, images: jax.Array) -> jax.Array:
    """Images [N, h, w, 3] in [-1, 1] as the extractor was shown them; unchanged without a lens."""
    if frozen.system.lens is None:
        return images
    return frozen.system.lens.apply({"params": frozen.state.lens_params}, images)


def apply_head(frozen: Frozen, views: Views, *, lensed: bool) -> jax.Array:
    """Outputs of the head for a task's views; `lensed` says whether these went through the lens."""
    return frozen.system.network.apply(
        _variables(frozen, lensed), views.inputs, views.context, train=False
    )


def apply_extractor(frozen: Frozen, inputs: jax.Array, *, lensed: bool) -> dict[str, jax.Array]:
    """Inputs [N, h, w, 3] in [-1, 1] -> taps by name; `lensed` says whether they went through the lens."""
    return frozen.system.network.apply(
        _variables(frozen, lensed), inputs, train=False, method="taps"
    )


def _variables(frozen: Frozen, lensed: bool) -> dict[str, Any]:
    """Parameters and running statistics, of raw or lensed inputs where these were kept apart."""
    stats = frozen.state.batch_stats
    if frozen.system.split:
        stats = stats["lensed" if lensed else "raw"]
    return {"params": frozen.state.params, "batch_stats": stats}


def eval_views(frozen: Frozen, batch: Batch, shortcut: str, *, lensed: bool) -> Views:
    """The task's views of a batch with `shortcut` drawn in, through the lens where `lensed`."""
    images = shortcuts.inject(shortcut, color.to_unit(batch["image"])).images
    on_images = frozen.config.lens.acts_on == "images"
    views = _ask(frozen, batch, apply_lens(frozen, images) if lensed and on_images else images)
    if not lensed or on_images:
        return views
    return views._replace(inputs=apply_lens(frozen, views.inputs))


def _ask(frozen: Frozen, batch: Batch, images: jax.Array) -> Views:
    key = make_key(frozen.config.seed, 0, Purpose.VIEWS)
    return frozen.system.task.views(key, batch | {"image": images}, None)


def make_lens_effect(frozen: Frozen) -> Callable[[np.ndarray], LensEffect]:
    """The function from uint8 images [B, h, w, 3] to what the lens does to their N views.

    The run's own shortcut is drawn into the images first.
    """

    @partial(jax.jit, compiler_options=compiler_options())
    def effect(state: TrainState, pixels: jax.Array) -> LensEffect:
        batch = {"image": pixels, "label": jnp.zeros(len(pixels), jnp.int32)}
        shortcut, given = frozen.config.shortcut, frozen._replace(state=state)
        inputs, lensed = (
            eval_views(given, batch, shortcut, lensed=through).inputs for through in (False, True)
        )
        mask = shortcuts.inject(shortcut, color.to_unit(pixels)).mask
        as_image = jnp.repeat(mask[..., None], 3, axis=-1).astype(inputs.dtype)
        return LensEffect(inputs, lensed, _ask(frozen, batch, as_image).inputs[..., 0] > 0.5)

    return lambda images: jax.tree.map(np.asarray, effect(frozen.state, images))


def pretext_accuracy(frozen: Frozen, source: Source, shortcut: str) -> dict[str, float]:
    """The share of views whose pretext label is found, "raw" and with a lens also "lensed".

    Measured on all of `source` with `shortcut` drawn into every image; empty for a task without
    classes.
    """
    if not frozen.system.task.has_classes:
        return {}
    kinds = ("raw",) if frozen.system.lens is None else ("raw", "lensed")

    def count(state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        given = frozen._replace(state=state)
        return {kind: _count(given, batch, shortcut, lensed=kind == "lensed") for kind in kinds}

    counts = list(run_pass(frozen.config.data, source, count, frozen.state))
    totals = {
        kind: np.sum([each[kind] for each in counts], axis=0, dtype=np.int64) for kind in kinds
    }
    return {kind: float(found / total) for kind, (found, total) in totals.items()}


def _count(frozen: Frozen, batch: Batch, shortcut: str, *, lensed: bool) -> jax.Array:
    """How many views' labels are found, and how many views there are, in images that `mask` says to count."""
    views = eval_views(frozen, batch, shortcut, lensed=lensed)
    logits = frozen.system.task.logits(apply_head(frozen, views, lensed=lensed))
    found = jnp.argmax(logits, axis=-1) == views.labels
    counted = jnp.repeat(batch["mask"], len(found) // len(batch["mask"]))
    return jnp.stack([jnp.sum(found & counted), jnp.sum(counted)])
