"""The gradients of a batch, taken in parts one after the other in the memory of one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lens_jax.tasks.base import Batch
from lens_jax.train.gradients import Carried, Gradients
from lens_jax.train.state import TrainState

# (state, part of a batch, tick) -> gradients of the part, and what it hands on to the next.
Compute = Callable[[TrainState, Batch, jax.Array], tuple[Gradients, Carried]]
Sums = tuple[Gradients, Carried]
Part = tuple[Batch, jax.Array]


def accumulate(
    compute: Compute, parts: int, state: TrainState, batch: Batch
) -> tuple[Gradients, Carried]:
    """The mean gradients over the parts of a batch, and what the last part hands on.

    Every part starts from the statistics and the memory that the one before left, and has random
    draws of its own: keys count parts in place of steps. Part i holds the rows i, i + parts, ...,
    which are spread evenly over the devices. BatchNorm and contrastive losses see a part at a time,
    so that the result is not that of the whole batch at once.
    """
    if parts == 1:
        return compute(state, batch, state.step)

    def add(sums: Sums, part: Part) -> tuple[Sums, None]:
        total, carried = sums
        rows, tick = part

        # From where the part before ended.
        handed_on = carried._asdict()
        current = state.replace(**handed_on)
        gradients, carried = compute(current, rows, tick)

        total = jax.tree.map(jnp.add, total, gradients)
        return (total, carried), None

    batches = interleave(batch, parts)
    first_tick = state.step * parts
    ticks = first_tick + jnp.arange(parts)

    # The sums start as zeros in the shapes of one part's gradients.
    first_batch = jax.tree.map(lambda rows: rows[0], batches)
    shapes, _ = jax.eval_shape(compute, state, first_batch, first_tick)
    zeros = jax.tree.map(jnp.zeros_like, shapes)
    carried = Carried(state.batch_stats, state.target_stats, state.memory)
    start = (zeros, carried)

    # XLA's convolutions on CPUs take many times longer inside a loop.
    unroll = jax.default_backend() == "cpu"
    sums, _ = jax.lax.scan(add, start, (batches, ticks), unroll=unroll)
    total, carried = sums
    mean = jax.tree.map(lambda x: x / parts, total)
    return mean, carried


def interleave(batch: Any, parts: int) -> Any:
    """Arrays [B, ...] -> [parts, B / parts, ...]; part i holds the rows i, i + parts, ..."""

    def split(rows: jax.Array) -> jax.Array:
        shape = rows.shape[1:]
        in_parts = rows.reshape(-1, parts, *shape)
        return in_parts.swapaxes(0, 1)

    return jax.tree.map(split, batch)
