"""Stops training at the first number that is not finite."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.errors import UserError
from lens_jax.tasks.base import Batch
from lens_jax.train.gradients import Metrics
from lens_jax.train.state import TrainState
from lens_jax.train.step import Step

# The metric that says whether all of the new state is finite.
STATE = "state_is_finite"


class NotFiniteError(UserError):
    """A loss, or a number in the train state, that is NaN or infinite."""


def watched(step: Step) -> Step:
    """`step`, whose metrics also hold whether all of its new state is finite, see `mean`.

    That covers the gradients: an optimizer hands one that is not finite on to the parameters or to
    its own state.
    """

    def watched_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        state, metrics = step(state, batch)
        return state, metrics | {STATE: is_finite(state)}

    return watched_step


def is_finite(tree: Any) -> jax.Array:
    """Whether no floating-point number in `tree` is NaN or infinite."""
    found = []
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            found.append(jnp.all(jnp.isfinite(leaf)))
    return jnp.all(jnp.stack(found))


def mean(window: list[Metrics], last: int, workdir: str) -> dict[str, float]:
    """The mean of each metric over the steps up to `last`.

    Raises `NotFiniteError` at the first step with a number that is not finite.
    """
    rows = jax.device_get(window)
    first = last - len(rows) + 1
    for step, row in enumerate(rows, first):
        _check(row, step, workdir)

    means = {}
    for name in rows[0]:
        if name != STATE:
            means[name] = float(np.mean([row[name] for row in rows]))
    return means


def _check(row: dict[str, np.ndarray], step: int, workdir: str) -> None:
    bad = [f"{name} is {value}" for name, value in row.items() if not np.isfinite(value)]
    if not row[STATE]:
        bad.append("a parameter or what the optimizer or BatchNorm keeps is not finite")
    if bad:
        raise NotFiniteError(
            f"{bad[0]} at step {step}: training stopped; the checkpoints in {workdir} are from "
            "before; lower optimizer.learning_rate or lens.learning_rate in a new --workdir, or "
            "set train.rollbacks"
        )
