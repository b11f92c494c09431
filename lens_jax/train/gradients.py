"""The joint update: the gradients of network and lens from one forward pass.

What the extractor sees comes in kinds, lensed and raw, see lens/lens.py; no lens is simply the one
kind "raw". Inputs, outputs, memory, and BatchNorm's statistics where they are split, are
dictionaries by kind.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.lens.attacks import Gradient, attack
from lens_jax.lens.lens import LENSED, Lens
from lens_jax.tasks.base import Loss, Outputs, Views
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, System

ByKind = dict[str, Any]
Metrics = dict[str, jax.Array]
MakeViews = Callable[[jax.Array], Views]
Keys = Callable[[Purpose], jax.Array]


class Gradients(NamedTuple):
    """What is averaged where a batch is taken in parts."""

    params: Any
    lens_params: Any
    metrics: Metrics


class Carried(NamedTuple):
    """What one part of a batch hands on to the next: fields of `TrainState`."""

    batch_stats: Any
    target_stats: Any
    memory: ByKind


class Division(NamedTuple):
    """A batch divided into kinds, before anything is altered.

    Attributes:
      views: by kind; the inputs of lensed ones are still as they were.
      per_image: number of views of an image.
      original: what is to be altered, views or whole images [n, h, w, 3]; None: nothing is.
      to_inputs: what was altered -> lensed inputs.

    """

    views: dict[str, Views]
    per_image: int
    original: jax.Array | None
    to_inputs: Callable[[jax.Array], jax.Array]


class Pass(NamedTuple):
    """What stays the same in one pass over a batch."""

    system: System
    state: TrainState
    division: Division
    keys: Keys


def compute_gradients(
    system: System, state: TrainState, images: jax.Array, make_views: MakeViews, keys: Keys
) -> tuple[Gradients, Carried]:
    """The gradients of the pretext loss and of L_lens, and what the pass leaves behind.

    1. lens parameters -> inputs by kind, and the mean squared change of what was altered
    2. inputs -> the target network's outputs, without a gradient; nothing without such a network
    3. network parameters, inputs -> outputs
    4. the pretext loss, pulled back through 3 to the network's parameters
    5. the adversarial loss, pulled back through 3 to the inputs and, with lambda for the change,
       through 1 to the lens's parameters

    The network never receives the lens's gradient, nor the lens the network's.

    Args:
      system: task, networks and lens.
      state: before the step.
      images: the batch, [B, h, w, 3] in [-1, 1].
      make_views: images -> the task's views of them; every call draws the same.
      keys: purpose -> random key.

    """
    lens = system.lens
    division = divide(lens, images, make_views)
    this = Pass(system, state, division, keys)

    # 1. Inputs by kind.
    alter = make_alter(this)
    make_inputs = partial(lensed_inputs, division, alter)
    (inputs, change), pull_lens = jax.vjp(make_inputs, state.lens_params)

    # 2. The target network's outputs by kind.
    targets, target_stats = target_outputs(this, inputs)

    # 3. The network's outputs by kind.
    forward = partial(online_outputs, this)
    outputs, pull_network, batch_stats = jax.vjp(forward, state.params, inputs, has_aux=True)

    # 4. The network's gradient.
    pretext = partial(pretext_loss, this, targets)
    (value, losses), to_outputs = jax.value_and_grad(pretext, has_aux=True)(outputs)
    params_gradient, _ = pull_network(to_outputs)

    metrics = {"loss": value} | metrics_by_kind(losses)
    if division.original is not None:
        metrics["lens_reconstruction"] = change
    memory = {kind: loss.memory for kind, loss in losses.items()}
    carried = Carried(batch_stats, target_stats, state.memory | memory)
    if not lens.trains:
        return Gradients(params_gradient, {}, metrics), carried

    # 5. The lens's gradient.
    adversarial = partial(adversarial_loss, this, targets)
    adversarial_value, to_outputs = jax.value_and_grad(adversarial)(outputs)

    def lens_gradient() -> Any:
        _, to_inputs = pull_network(to_outputs)
        (gradient,) = pull_lens((to_inputs, state.lens_penalty.astype(change.dtype)))
        return gradient

    metrics |= {"lens_adversarial": adversarial_value, "lens_penalty": state.lens_penalty}
    return Gradients(params_gradient, when_updated(lens, state, lens_gradient), metrics), carried


def divide(lens: Lens, images: jax.Array, make_views: MakeViews) -> Division:
    """Divides a batch into the first images, to be altered, and the last ones, seen as they are."""
    count = len(images)
    rows = lens.rows(count)
    every_view = make_views(images)
    per_image = len(every_view.inputs) // count
    views = {kind: take_images(every_view, count, part) for kind, part in rows.items()}

    if LENSED not in views:
        return Division(views, per_image, None, lambda altered: altered)
    if lens.acts_on == "views":
        return Division(views, per_image, views[LENSED].inputs, lambda altered: altered)

    def to_inputs(altered: jax.Array) -> jax.Array:
        # The views are made of a whole batch, so that every image has the draws of its row.
        whole = jnp.concatenate([altered, images[len(altered) :]])
        return take_images(make_views(whole), count, rows[LENSED]).inputs

    return Division(views, per_image, images[rows[LENSED]], to_inputs)


def make_alter(this: Pass) -> Callable[[Any], jax.Array]:
    """The function lens parameters -> what the lens, or an attack in its place, makes of images."""
    system, original = this.system, this.division.original
    if system.lens_network is not None:
        return lambda params: system.lens_network.apply({"params": params}, original)
    if original is None:
        return lambda params: original

    lens = system.lens
    key = this.keys(Purpose.ATTACK)
    gradient = attack_gradient(this)
    perturbed = attack(lens.kind, key, gradient, original, lens.epsilon, lens.attack_steps)
    return lambda params: perturbed


def attack_gradient(this: Pass) -> Gradient:
    """The gradient of L_adv with respect to what is altered.

    Raw inputs are left out, which nearly halves the cost.
    """

    def loss(x: jax.Array) -> jax.Array:
        inputs = {LENSED: this.division.to_inputs(x)}
        targets, _ = target_outputs(this, inputs)
        outputs, _ = online_outputs(this, this.state.params, inputs)
        return adversarial_loss(this, targets, outputs)

    return jax.grad(loss)


def lensed_inputs(
    division: Division, alter: Callable[[Any], jax.Array], lens_params: Any
) -> tuple[ByKind, jax.Array]:
    """Inputs by kind, and the mean squared change of what was altered."""
    inputs = {kind: views.inputs for kind, views in division.views.items()}
    if division.original is None:
        return inputs, jnp.zeros(())
    altered = alter(lens_params)
    change = jnp.mean((division.original - altered) ** 2)
    return inputs | {LENSED: division.to_inputs(altered)}, change


def target_outputs(this: Pass, inputs: ByKind) -> tuple[ByKind, Any]:
    """The target network's outputs by kind, without a gradient, and its new statistics."""
    target = this.system.target
    if target is None:
        return {}, {}
    variables = {"params": this.state.target_params, "batch_stats": this.state.target_stats}
    outputs, stats = apply_network(this, variables, inputs, target.views, method="target")
    return jax.lax.stop_gradient(outputs), stats


def online_outputs(this: Pass, params: Any, inputs: ByKind) -> tuple[ByKind, Any]:
    """The trained network's outputs by kind, and its new statistics."""
    variables = {"params": params, "batch_stats": this.state.batch_stats}
    return apply_network(this, variables, inputs, this.system.task.online_views)


def apply_network(
    this: Pass,
    variables: dict[str, Any],
    inputs: ByKind,
    chosen: tuple[int, ...] | None,
    method: str | None = None,
) -> tuple[ByKind, Any]:
    """Outputs by kind for the chosen views of each image, and the new statistics.

    One pass over all kinds, so that BatchNorm sees them together; or one for each kind, where its
    statistics are split.
    """
    per_image = this.division.per_image
    views_by_kind = {}
    for kind, kind_inputs in inputs.items():
        views = this.division.views[kind]._replace(inputs=kind_inputs, labels=None)
        views_by_kind[kind] = choose_views(views, chosen, per_image)

    def apply(stats: Any, views: Views) -> tuple[Any, Any]:
        outputs, updated = this.system.network.apply(
            {"params": variables["params"], "batch_stats": stats},
            views.inputs,
            views.context,
            train=True,
            method=method,
            mutable=["batch_stats"],
            rngs={"dropout": this.keys(Purpose.DROPOUT)},
        )
        return outputs, updated.get("batch_stats", {})

    stats = variables["batch_stats"]
    if this.system.lens.split:
        outputs, new_stats = {}, dict(stats)
        for kind, views in views_by_kind.items():
            outputs[kind], new_stats[kind] = apply(stats[kind], views)
        return outputs, new_stats

    images = {kind: len(kind_inputs) // per_image for kind, kind_inputs in inputs.items()}
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *views_by_kind.values())
    outputs, new_stats = apply(stats, joined)
    return divide_rows(outputs, images), new_stats


def pretext_loss(this: Pass, targets: ByKind, outputs: ByKind) -> tuple[jax.Array, dict[str, Loss]]:
    """The mean of the pretext losses of the kinds, and each of them."""
    losses = {kind: kind_loss(this, targets, outputs, kind) for kind in outputs}
    values = [loss.value for loss in losses.values()]
    return sum(values) / len(values), losses


def adversarial_loss(this: Pass, targets: ByKind, outputs: ByKind) -> jax.Array:
    """L_adv of the outputs for lensed inputs."""
    task = this.system.task
    objective = this.system.lens.make_objective(task.has_classes)
    loss = kind_loss(this, targets, outputs, LENSED)
    logits = task.logits(Outputs(outputs[LENSED], targets.get(LENSED)))
    return objective(loss.value, logits)


def kind_loss(this: Pass, targets: ByKind, outputs: ByKind, kind: str) -> Loss:
    """The task's loss on the inputs of one kind, against the memory of that kind alone.

    Were the memory shared, raw inputs would be told from lensed negatives by the lens's traces: a
    shortcut of our own making.
    """
    kind_outputs = Outputs(outputs[kind], targets.get(kind))
    labels = this.division.views[kind].labels
    return this.system.task.loss(kind_outputs, labels, this.state.memory[kind])


def metrics_by_kind(losses: dict[str, Loss]) -> Metrics:
    """The metrics of all kinds, named such as "accuracy_raw"."""
    metrics = {}
    for kind, loss in losses.items():
        for name, value in loss.metrics.items():
            metrics[f"{name}_{kind}"] = value
    return metrics


def when_updated(lens: Lens, state: TrainState, gradient: Callable[[], Any]) -> Any:
    """The gradient at steps that update the lens; zeros, at no cost, at the others."""
    if lens.update_every == 1:
        return gradient()
    zeros = jax.tree.map(jnp.zeros_like, state.lens_params)
    return jax.lax.cond(state.step % lens.update_every == 0, gradient, lambda: zeros)


def take_images(tree: Any, count: int, images: slice) -> Any:
    """What belongs to some of `count` images, whose rows lie side by side in every array."""

    def take(x: jax.Array) -> jax.Array:
        rows_per_image = len(x) // count
        return x[images.start * rows_per_image : images.stop * rows_per_image]

    return jax.tree.map(take, tree)


def choose_views(tree: Any, chosen: tuple[int, ...] | None, count: int) -> Any:
    """The rows of some of the `count` views of each image; None: of all."""
    if chosen is None or chosen == tuple(range(count)):
        return tree

    def choose(x: jax.Array) -> jax.Array:
        by_image = x.reshape(-1, count, *x.shape[1:])
        return by_image[:, jnp.array(chosen)].reshape(-1, *x.shape[1:])

    return jax.tree.map(choose, tree)


def divide_rows(tree: Any, images: dict[str, int]) -> ByKind:
    """Rows that lie one kind after the other -> by kind, for so many images of each kind."""
    total = sum(images.values())
    start = 0
    divided = {}
    for kind, count in images.items():
        divided[kind] = take_images(tree, total, slice(start, start + count))
        start += count
    return divided
