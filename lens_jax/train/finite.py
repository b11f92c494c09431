"""Stops training at the first number that is not finite."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.errors import UserError
from lens_jax.train.step import Metrics

STATE = "state_is_finite"


class NotFiniteError(UserError):
    """A loss, or a number in the train state, that is NaN or infinite."""


def watched(
    step: Callable[[Any, Any], tuple[Any, Metrics]],
) -> Callable[[Any, Any], tuple[Any, Metrics]]:
    """`step`, whose metrics also say whether all of its new state is finite, see `mean`.

    A gradient that is not finite is among it: an optimizer hands it on to the parameters or to its
    own state.
    """

    def watched_step(state: Any, batch: Any) -> tuple[Any, Metrics]:
        state, metrics = step(state, batch)
        return state, metrics | {STATE: is_finite(state)}

    return watched_step


def is_finite(tree: Any) -> jax.Array:
    """Whether no floating-point number in `tree` is NaN or infinite."""
    leaves = (x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))


def mean(window: list[Metrics], last: int, workdir: str) -> dict[str, float]:
    """The mean of each metric over the steps up to `last`; raises `NotFiniteError` at the first bad step."""
    rows = jax.device_get(window)
    for step, row in enumerate(rows, last - len(rows) + 1):
        _check(row, step, workdir)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != STATE}


def _check(row: dict[str, np.ndarray], step: int, workdir: str) -> None:
    bad = [f"{name} is {value}" for name, value in row.items() if not np.isfinite(value)]
    if not row[STATE]:
        bad.append("a parameter or what the optimizer or BatchNorm keeps is not finite")
    if bad:
        raise NotFiniteError(
            f"{bad[0]} at step {step}: training stopped; the checkpoints in {workdir} are from before; "
            "lower optimizer.learning_rate or lens.learning_rate in a new --workdir, or set train.rollbacks"
        )
