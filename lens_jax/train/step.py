"""The joint update of feature extractor and lens: one forward pass, two cotangents."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lens_jax.lens.adversary import make_objective
from lens_jax.tasks.base import Batch, Views
from lens_jax.train.state import TrainState
from lens_jax.train.system import System, make_views

Metrics = dict[str, jax.Array]


class Gradients(NamedTuple):
    """Gradients of L_extractor and of L_lens, and what else the forward pass left behind."""

    params: Any
    lens_params: Any
    batch_stats: Any
    memory: Any
    metrics: Metrics


def make_step(
    config: ConfigDict,
    system: System,
    optimizer: optax.GradientTransformation,
    lens_optimizer: optax.GradientTransformation,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure training step (state, batch of uint8 images and labels) -> (state, metrics)."""
    if system.lens is None:
        gradients = partial(plain_gradients, system)
    else:
        gradients = partial(
            joint_gradients,
            system,
            objective=make_objective(config.lens.objective, system.task.has_classes),
            penalty=config.lens.lambda_,
            raw_share=config.lens.raw_share,
        )

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        new = gradients(state=state, views=make_views(config, system.task, batch, state.step))
        params, opt_state = _apply(optimizer, new.params, state.opt_state, state.params)
        lens_params, lens_opt_state = _apply(
            lens_optimizer, new.lens_params, state.lens_opt_state, state.lens_params
        )
        state = TrainState(
            state.step + 1, params, new.batch_stats, opt_state, lens_params, lens_opt_state, new.memory
        )
        return state, new.metrics

    return step


def plain_gradients(system: System, *, state: TrainState, views: Views) -> Gradients:
    """The gradients of the pretext loss without a lens."""

    def pretext(params: Any) -> tuple[jax.Array, tuple[Any, Any, Metrics]]:
        outputs, batch_stats = _forward(system, state.batch_stats, params, views.inputs)
        value, metrics, memory = system.task.loss(outputs, views.targets, state.memory)
        return value, (batch_stats, memory, _named("raw", metrics))

    grads, (batch_stats, memory, metrics), loss = _value_last(pretext)(state.params)
    return Gradients(grads, state.lens_params, batch_stats, memory, metrics | {"loss": loss})


def joint_gradients(
    system: System,
    *,
    state: TrainState,
    views: Views,
    objective: Callable[[jax.Array, jax.Array | None], jax.Array],
    penalty: float,
    raw_share: float,
) -> Gradients:
    """The gradients of extractor and lens from one pass over [lensed; raw].

    - L_extractor = mean of the pretext loss on lensed and on raw inputs; its cotangent is pulled
      back to the extractor's parameters only.
    - L_lens = L_adv + penalty * mean over pixels of (x - L(x))^2; the cotangent of L_adv is pulled
      back through the same linearisation to the lensed pixels, and from there to the lens.

    The extractor never receives the lens's gradient, nor the lens the extractor's. `raw_share`
    is the number of raw inputs for each lensed one, 0 (lensed only) to 1 (as many).
    """
    inputs, n = views.inputs, len(views.inputs)
    raw = round(raw_share * n)
    lensed, pull_lens = jax.vjp(lambda p: system.lens.apply({"params": p}, inputs), state.lens_params)
    seen = jnp.concatenate([lensed, inputs[:raw]])
    outputs, pull, batch_stats = jax.vjp(
        partial(_forward, system, state.batch_stats), state.params, seen, has_aux=True
    )

    def pretext(outputs: jax.Array) -> tuple[jax.Array, tuple[Any, Metrics]]:
        value, metrics, memory = system.task.loss(outputs[:n], views.targets, state.memory)
        metrics = _named("lensed", metrics)
        if raw:
            targets = jax.tree.map(lambda t: t[:raw], views.targets)
            on_raw = system.task.loss(outputs[n:], targets, state.memory)
            value = (value + on_raw.value) / 2
            metrics |= _named("raw", on_raw.metrics)
        return value, (memory, metrics)

    def adversarial(outputs: jax.Array) -> jax.Array:
        value = system.task.loss(outputs[:n], views.targets, state.memory).value
        return objective(value, system.task.logits(outputs[:n]))

    to_params, (memory, metrics), loss = _value_last(pretext)(outputs)
    adversarial_loss, to_pixels = jax.value_and_grad(adversarial)(outputs)
    reconstruction = jnp.mean((inputs - lensed) ** 2)
    to_lensed = pull(to_pixels)[1][:n] + penalty * jax.grad(lambda x: jnp.mean((inputs - x) ** 2))(lensed)
    metrics |= {"loss": loss, "lens_adversarial": adversarial_loss, "lens_reconstruction": reconstruction}
    return Gradients(pull(to_params)[0], pull_lens(to_lensed)[0], batch_stats, memory, metrics)


def _forward(system: System, batch_stats: Any, params: Any, images: jax.Array) -> tuple[jax.Array, Any]:
    outputs, updated = system.network.apply(
        {"params": params, "batch_stats": batch_stats}, images, train=True, mutable=["batch_stats"]
    )
    return outputs, updated["batch_stats"]


def _value_last(function: Callable) -> Callable:
    """X -> (gradient, aux, value) of a function x -> (value, aux)."""

    def gradient(x: Any) -> tuple[Any, Any, jax.Array]:
        (value, aux), grad = jax.value_and_grad(function, has_aux=True)(x)
        return grad, aux, value

    return gradient


def _named(kind: str, metrics: Metrics) -> Metrics:
    return {f"{name}_{kind}": value for name, value in metrics.items()}


def _apply(
    optimizer: optax.GradientTransformation, grads: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state
