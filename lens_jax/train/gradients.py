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
from lens_jax.tasks.base import Loss, Outputs
from lens_jax.train.division import ByKind, Division, MakeViews, divide
from lens_jax.train.forward import Keys, Pass, online_outputs, target_outputs
from lens_jax.train.monitors import Observed, monitor_step
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, System

Metrics = dict[str, jax.Array]


class Gradients(NamedTuple):
    """What is averaged where a batch is taken in parts."""

    params: Any
    lens_params: Any
    metrics: Metrics
    probe: Any = None


class Carried(NamedTuple):
    """What one part of a batch hands on to the next: fields of `TrainState`."""

    batch_stats: Any
    target_stats: Any
    memory: ByKind


def compute_gradients(
    system: System,
    state: TrainState,
    images: jax.Array,
    make_views: MakeViews,
    keys: Keys,
    labels: jax.Array | None = None,
) -> tuple[Gradients, Carried]:
    """The gradients of the pretext loss and of L_lens, and what the pass leaves behind.

    1. lens parameters -> inputs by kind, and the mean squared change of what was altered
    2. inputs -> the target network's outputs, without a gradient; nothing without such a network
    3. network parameters, inputs -> outputs
    4. the pretext loss, pulled back through 3 to the network's parameters
    5. the adversarial loss, pulled back through 3 to the inputs and, with lambda for the change,
       through 1 to the lens's parameters

    The network never receives the lens's gradient, nor the lens the network's. The classes of the
    images, `labels`, are only watched, see `monitors.monitor_step`.
    """
    lens = system.lens
    division = divide(lens, images, make_views)
    this = Pass(system, state, division, keys)

    # 1. Inputs by kind.
    make_inputs = partial(lensed_inputs, division, make_alter(this))
    (inputs, change), pull_lens = jax.vjp(make_inputs, state.lens_params)

    # 2. The target network's outputs by kind.
    targets, target_stats = target_outputs(this, inputs)

    # 3. The network's outputs by kind.
    forward = partial(online_outputs, this)
    outputs, pull_network, left = jax.vjp(forward, state.params, inputs, has_aux=True)

    # 4. The network's gradient.
    pretext = partial(pretext_loss, this, targets)
    (value, losses), to_outputs = jax.value_and_grad(pretext, has_aux=True)(outputs)
    params_gradient, _ = pull_network(to_outputs)

    metrics = {"loss": value} | metrics_by_kind(losses)
    if division.original is not None:
        metrics["lens_reconstruction"] = change
    memory = state.memory | {kind: loss.memory for kind, loss in losses.items()}
    carried = Carried(left.stats, target_stats, memory)

    # What is watched beside; none of it reaches the network.
    observed = Observed(outputs, targets, left.features)
    probe_gradient, watched = monitor_step(system, state, observed, labels)
    metrics |= watched
    if not lens.trains:
        return Gradients(params_gradient, {}, metrics, probe_gradient), carried

    # 5. The lens's gradient.
    adversarial = partial(adversarial_loss, this, targets)
    adversarial_value, to_outputs = jax.value_and_grad(adversarial)(outputs)

    def pull_to_lens() -> Any:
        _, to_inputs = pull_network(to_outputs)
        to_change = state.lens_penalty.astype(change.dtype)
        (gradient,) = pull_lens((to_inputs, to_change))
        return gradient

    lens_gradient = when_updated(lens, state, pull_to_lens)
    metrics["lens_adversarial"] = adversarial_value
    metrics["lens_penalty"] = state.lens_penalty
    return Gradients(params_gradient, lens_gradient, metrics, probe_gradient), carried


def make_alter(this: Pass) -> Callable[[Any], jax.Array]:
    """The function lens parameters -> what the lens, or an attack in its place, makes of images."""
    original = this.division.original
    lens = this.system.lens
    lens_network = this.system.lens_network

    if lens_network is not None:
        return lambda params: lens_network.apply({"params": params}, original)
    if original is None:
        return lambda params: original

    key = this.keys(Purpose.ATTACK)
    gradient = attack_gradient(this)
    perturbed = attack(lens.kind, key, gradient, original, lens.epsilon, lens.attack_steps)
    return lambda params: perturbed


def attack_gradient(this: Pass) -> Gradient:
    """The gradient of L_adv with respect to what is altered.

    Raw inputs are left out, which nearly halves the cost.
    """

    def loss(altered: jax.Array) -> jax.Array:
        inputs = {LENSED: this.division.to_inputs(altered)}
        targets, _ = target_outputs(this, inputs)
        outputs, _ = online_outputs(this, this.state.params, inputs)
        return adversarial_loss(this, targets, outputs)

    return jax.grad(loss)


def lensed_inputs(
    division: Division, alter: Callable[[Any], jax.Array], lens_params: Any
) -> tuple[ByKind, jax.Array]:
    """Inputs by kind, and the mean squared change of what was altered."""
    inputs = {kind: views.inputs for kind, views in division.views.items()}
    original = division.original
    if original is None:
        return inputs, jnp.zeros(())

    altered = alter(lens_params)
    inputs[LENSED] = division.to_inputs(altered)
    change = jnp.mean((original - altered) ** 2)
    return inputs, change


def pretext_loss(this: Pass, targets: ByKind, outputs: ByKind) -> tuple[jax.Array, dict[str, Loss]]:
    """The mean of the pretext losses of the kinds, and each of them."""
    losses = {}
    total = 0.0
    for kind in outputs:
        losses[kind] = kind_loss(this, targets, outputs, kind)
        total += losses[kind].value
    return total / len(losses), losses


def adversarial_loss(this: Pass, targets: ByKind, outputs: ByKind) -> jax.Array:
    """L_adv of the outputs for lensed inputs."""
    objective = this.system.lens.make_objective(this.system.task.has_logits)
    loss = kind_loss(this, targets, outputs, LENSED)
    return objective(loss.value, loss.logits)


def kind_loss(this: Pass, targets: ByKind, outputs: ByKind, kind: str) -> Loss:
    """The task's loss on the inputs of one kind, against the memory of that kind alone.

    Were the memory shared, the lens's traces would tell lensed negatives from raw queries: a
    shortcut of our own making.
    """
    kind_outputs = Outputs(outputs[kind], targets.get(kind))
    labels = this.division.views[kind].labels
    memory = this.state.memory[kind]
    return this.system.task.loss(kind_outputs, labels, memory)


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
    is_due = state.step % lens.update_every == 0
    zeros = jax.tree.map(jnp.zeros_like, state.lens_params)
    return jax.lax.cond(is_due, gradient, lambda: zeros)
