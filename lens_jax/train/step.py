"""The training step: gradients, two optimizers, and the average of the target network."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import optax

from lens_jax.tasks.base import Batch, Views
from lens_jax.train.accumulate import accumulate
from lens_jax.train.gradients import Carried, Gradients, Metrics, compute_gradients
from lens_jax.train.state import TrainState
from lens_jax.train.system import System, make_key, make_views, prepare

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_step(
    config: "ConfigDict",
    system: System,
    optimizer: optax.GradientTransformation,
    lens_optimizer: optax.GradientTransformation,
) -> Step:
    """The pure training step (state, batch) -> (state, metrics).

    The batch holds "image" uint8 [B, h, w, 3], "label" int32 [B] and "index" int32 [B]; of pairs
    also "partner", like "image".
    """

    def compute(state: TrainState, batch: Batch, tick: jax.Array) -> tuple[Gradients, Carried]:
        batch = prepare(config, batch)

        def views_of(images: jax.Array) -> Views:
            return make_views(system, batch | {"image": images}, config.seed, tick)

        keys = partial(make_key, config.seed, tick)
        return compute_gradients(system, state, batch["image"], views_of, keys, batch["label"])

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradients, carried = accumulate(compute, config.train.accumulate, state, batch)
        metrics = gradients.metrics

        params, opt_state = update(optimizer, gradients.params, state.opt_state, state.params)
        lens_params, lens_opt_state = update(
            lens_optimizer, gradients.lens_params, state.lens_opt_state, state.lens_params
        )
        lens_penalty = state.lens_penalty
        if system.lens.trains:
            lens_penalty = system.lens.next_penalty(lens_penalty, metrics["lens_reconstruction"])
        probe = state.probe
        if system.probe is not None:
            probe = system.probe.update(probe, gradients.probe)

        state = state.replace(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            target_params=average_target(system, state, params),
            lens_params=lens_params,
            lens_opt_state=lens_opt_state,
            lens_penalty=lens_penalty,
            probe=probe,
            **carried._asdict(),
        )
        return state, metrics

    return step


def update(
    optimizer: optax.GradientTransformation, gradients: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    """The parameters and the optimizer's state after a step."""
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def average_target(system: System, state: TrainState, params: Any) -> Any:
    """The target network's parameters after a step that leaves `params`.

    target <- m * target + (1 - m) * params, with the momentum m at this step.
    """
    if system.target is None:
        return state.target_params
    momentum = system.target.momentum(state.step)
    return optax.incremental_update(params, state.target_params, 1 - momentum)
