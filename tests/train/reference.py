"""The joint update in separate passes: what one pass has to come to, in float64.

The gradient of the network is that of a pass with the lensed inputs held fixed, the gradient of the
lens that of another pass. Memory and the target network's outputs are constants in both.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from lens_jax.ops.augment import Augmented
from lens_jax.ops.draws import PARAMETERS
from lens_jax.tasks.base import Classification, DataFacts, Outputs, Views
from lens_jax.tasks.moco import MoCo
from lens_jax.train.gradients import Carried, Gradients, compute_gradients
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.system import Purpose, System, make_key, make_system
from tests.train.tiny import random_like, with_tiny_networks

IMAGES = 6
SIDE = 10
PENALTY = 7.0
TASKS = {
    "rotation": {"all_rotations": True},
    "jigsaw": {"cell": 3, "patch": 2, "embedding": 4, "hidden": 8, "permutations": 6, "drawn": 3},
    "exemplar": {"copies": 2, "size": 8, "embedding": 4},
    "simclr": {"hidden": 5, "embedding": 4},
    "moco": {"hidden": 5, "embedding": 4, "queue": 9},
    "byol": {"hidden": 5, "embedding": 4},
    "barlow_twins": {"hidden": 5, "embedding": 4},
    "pirl": {"cell": 3, "patch": 3, "hidden": 5, "embedding": 4, "negatives": 7},
    "equimod": {
        "base": {"name": "moco", "hidden": 5, "embedding": 4, "queue": 9},
        "hidden": 6,
        "embedding": 3,
        "parameters": 2,
    },
}
ByKind = dict[str, Any]


class Case(NamedTuple):
    """A system away from where it starts, and all that `compute_gradients` is given.

    Attributes:
      system: tiny networks, in float64.
      state: random numbers throughout.
      images: [IMAGES, SIDE, SIDE, 3].
      make_views: images -> views, always drawn alike.
      compute: state -> what `compute_gradients` gives, compiled once.

    """

    system: System
    state: TrainState
    images: jax.Array
    make_views: Callable[[jax.Array], Views]
    compute: Callable[[TrainState], tuple[Gradients, Carried]]


def make_case(
    config: ConfigDict, shrink: Callable[[System, Any], System] = with_tiny_networks
) -> Case:
    """The case of a config; needs x64."""
    system = shrink(make_system(config, DataFacts(3, 100), total_steps=10), jnp.float64)
    shapes = jax.eval_shape(partial(init_state, config, system, optax.sgd(1.0), optax.sgd(1.0)))
    state = random_like(shapes).replace(lens_penalty=jnp.float64(PENALTY))
    images = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (IMAGES, SIDE, SIDE, 3)))

    def make_views(images: jax.Array) -> Views:
        batch = {"image": images, "index": jnp.arange(IMAGES)}
        return system.task.views(keys_of(0)(Purpose.VIEWS), batch, augment)

    @jax.jit
    def compute(state: TrainState, seed: int = 0) -> tuple[Gradients, Carried]:
        return compute_gradients(system, state, images, make_views, keys_of(seed))

    return Case(system, state, images, make_views, compute)


def augment(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
    """Mirrors the first two images, and fades all views but the first: nothing need be drawn."""
    del size
    is_first = jnp.arange(len(images)) < 2
    mirrored = images[:, :, ::-1]
    images = jnp.where(is_first[:, None, None, None], mirrored, images)
    if view > 0:
        images = 0.8 * images
    parameters = jnp.stack([1.0 * is_first] * PARAMETERS, axis=1)
    return Augmented(images, parameters)


def keys_of(seed: int) -> Callable[[Purpose], jax.Array]:
    """The keys of the first step under a seed."""
    return partial(make_key, seed, 0)


def separate_passes(case: Case) -> tuple[Gradients, Carried]:
    """What `compute_gradients` has to give for a lens that is trained."""
    state = case.state
    lens = partial(apply_lens, case)
    changed = lens(state.lens_params)
    targets, _ = target_outputs(case, changed)

    def lens_loss(lens_params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        adversarial = adversarial_loss(case, targets, lens(lens_params))
        change = squared_change(case, lens(lens_params))
        metrics = {
            "lens_adversarial": adversarial,
            "lens_reconstruction": change,
            "lens_penalty": state.lens_penalty,
        }
        return adversarial + state.lens_penalty * change, metrics

    gradients, carried = network_pass(case, changed)
    lens_gradient, lens_metrics = jax.grad(lens_loss, has_aux=True)(state.lens_params)
    metrics = gradients.metrics | lens_metrics
    return Gradients(gradients.params, lens_gradient, metrics), carried


def network_pass(case: Case, changed: jax.Array) -> tuple[Gradients, Carried]:
    """The pass that trains the network, where all that can be altered was changed to `changed`."""
    targets, target_stats = target_outputs(case, changed)

    def loss(params: Any) -> tuple[jax.Array, tuple[Any, ...]]:
        outputs, stats = online_outputs(case, params, changed)
        values, metrics, memory = [], {}, {}
        for kind, views in views_by_kind(case, changed).items():
            found = task_loss(case, targets, outputs, kind, views)
            values.append(found.value)
            memory[kind] = found.memory
            for name, value in found.metrics.items():
                metrics[f"{name}_{kind}"] = value
        metrics["loss"] = sum(values) / len(values)
        return metrics["loss"], (metrics, stats, memory)

    gradient, (metrics, stats, memory) = jax.grad(loss, has_aux=True)(case.state.params)
    return Gradients(gradient, {}, metrics), Carried(stats, target_stats, memory)


def apply_lens(case: Case, lens_params: Any) -> jax.Array:
    """All that can be altered, as the lens makes it."""
    return case.system.lens_network.apply({"params": lens_params}, alterable(case))


def alterable(case: Case) -> jax.Array:
    """All images or all views, whichever the lens acts on."""
    return case.images if acts_on_images(case) else case.make_views(case.images).inputs


def acts_on_images(case: Case) -> bool:
    return case.system.lens.acts_on == "images"


def first_images(case: Case) -> int:
    """How many images are lensed."""
    return round(case.system.lens.lensed_fraction * IMAGES)


def images_of(tree: Any, start: int, stop: int) -> Any:
    """What belongs to the images from `start` to `stop`."""

    def take(rows: jax.Array) -> jax.Array:
        per_image = len(rows) // IMAGES
        return rows[start * per_image : stop * per_image]

    return jax.tree.map(take, tree)


def squared_change(case: Case, changed: jax.Array) -> jax.Array:
    """The mean over what is lensed."""
    change = changed - alterable(case)
    lensed = images_of(change, 0, first_images(case))
    return jnp.mean(lensed**2)


def views_by_kind(case: Case, changed: jax.Array) -> dict[str, Views]:
    """The lensed and the raw views where all that can be altered was changed to `changed`."""
    raw = case.make_views(case.images)
    if case.system.lens.kind == "none":
        return {"raw": raw}
    lensed = case.make_views(changed) if acts_on_images(case) else raw._replace(inputs=changed)
    views = {"lensed": images_of(lensed, 0, first_images(case))}
    last = round(case.system.lens.raw_fraction * IMAGES)
    if last:
        views["raw"] = images_of(raw, IMAGES - last, IMAGES)
    return views


def target_outputs(case: Case, changed: jax.Array) -> tuple[ByKind, Any]:
    """Of the target network, by kind, and its statistics."""
    target, state = case.system.target, case.state
    if target is None:
        return {}, {}
    views = views_by_kind(case, changed)
    variables = {"params": state.target_params, "batch_stats": state.target_stats}
    return apply_by_kind(case, variables, views, target.views, "target")


def online_outputs(case: Case, params: Any, changed: jax.Array) -> tuple[ByKind, Any]:
    """Of the network that is trained, by kind, and its statistics."""
    views = views_by_kind(case, changed)
    variables = {"params": params, "batch_stats": case.state.batch_stats}
    return apply_by_kind(case, variables, views, case.system.task.online_views, "__call__")


def apply_by_kind(
    case: Case,
    variables: dict[str, Any],
    views: dict[str, Views],
    chosen: tuple[int, ...] | None,
    method: str,
) -> tuple[ByKind, Any]:
    """A pass for each kind where statistics are split; else one over the rows of all of them."""
    per_image = len(case.make_views(case.images).inputs) // IMAGES
    seen = {kind: choose_views(each, chosen, per_image) for kind, each in views.items()}
    if case.system.lens.split:
        outputs, stats = {}, {}
        for kind, each in seen.items():
            own = variables | {"batch_stats": variables["batch_stats"][kind]}
            outputs[kind], stats[kind] = apply(case, own, each, method)
        return outputs, stats

    kinds = list(seen)
    if kinds == ["lensed", "raw"]:
        both = jax.tree.map(lambda *rows: jnp.concatenate(rows), seen["lensed"], seen["raw"])
    else:
        both = seen[kinds[0]]
    found, stats = apply(case, variables, both, method)

    # The outputs are divided as the inputs are.
    lensed = len(seen[kinds[0]].inputs)
    total = len(both.inputs)
    outputs = {kinds[0]: jax.tree.map(lambda rows: rows[: len(rows) * lensed // total], found)}
    if len(kinds) == 2:
        outputs["raw"] = jax.tree.map(lambda rows: rows[len(rows) * lensed // total :], found)
    return outputs, stats


def choose_views(views: Views, chosen: tuple[int, ...] | None, per_image: int) -> Views:
    """Some of the views of each image."""
    views = views._replace(labels=None)
    if chosen is None:
        return views
    indices = np.arange(len(views.inputs)).reshape(-1, per_image)
    take = indices[:, chosen].ravel()
    return jax.tree.map(lambda rows: rows[take], views)


def apply(
    case: Case, variables: dict[str, Any], views: Views, method: str
) -> tuple[jax.Array, Any]:
    """One pass of the network over some rows."""
    outputs, updated = case.system.network.apply(
        variables,
        views.inputs,
        views.context,
        True,
        method=method,
        mutable=["batch_stats"],
        rngs={"dropout": keys_of(0)(Purpose.DROPOUT)},
    )
    return outputs, updated["batch_stats"]


def task_loss(case: Case, targets: ByKind, outputs: ByKind, kind: str, views: Views) -> Any:
    """The task's loss of one kind, written out for tasks with classes."""
    kind_outputs = Outputs(outputs[kind], targets.get(kind))
    memory = case.state.memory[kind]
    found = case.system.task.loss(kind_outputs, views.labels, memory)
    if isinstance(case.system.task, Classification):
        return found._replace(value=cross_entropy(outputs[kind], views.labels))
    return found


def choices(case: Case, targets: ByKind, outputs: ByKind) -> jax.Array:
    """The logits of what each lensed row chooses from: classes, or other embeddings."""
    task, rows = case.system.task, outputs["lensed"]
    if isinstance(task, Classification):
        return rows
    rows = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    if isinstance(task, MoCo):
        keys = targets["lensed"]
        keys = keys / jnp.linalg.norm(keys, axis=1, keepdims=True)
        of_key = jnp.einsum("nf,nf->n", rows, keys)
        of_queue = jnp.einsum("nf,kf->nk", rows, case.state.memory["lensed"])
        return jnp.column_stack([of_key, of_queue]) / task.temperature

    # Of the views of SimCLR, each chooses from all but itself.
    similarities = jnp.einsum("nf,kf->nk", rows, rows)
    others = [jnp.delete(row, i) for i, row in enumerate(similarities)]
    return jnp.stack(others) / task.temperature


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean over rows."""
    of_labels = logits[jnp.arange(len(logits)), labels]
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - of_labels)


def adversarial_loss(case: Case, targets: ByKind, changed: jax.Array) -> jax.Array:
    """L_adv where the network sees all kinds."""
    views = views_by_kind(case, changed)
    outputs, _ = online_outputs(case, case.state.params, changed)
    return objective(case, targets, outputs, views["lensed"])


def objective(case: Case, targets: ByKind, outputs: ByKind, views: Views) -> jax.Array:
    """L_adv of the lensed outputs."""
    name = case.system.lens.objective
    if name == "full":
        return -task_loss(case, targets, outputs, "lensed", views).value
    if name == "reconstruction":
        return jnp.zeros(())
    logits = choices(case, targets, outputs)
    if name == "least_likely":
        return cross_entropy(logits, jnp.argmin(logits, axis=-1))
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1))
