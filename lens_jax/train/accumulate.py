"""The gradients of a batch, taken in parts one after the other in the memory of one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lens_jax.tasks.base import Batch
from lens_jax.train.gradients import Carried, Gradients
from lens_jax.train.state import TrainState

# (state, part of a batch, tick) -> gradients of the part, and what it hands on to the next.
Compute = Callable[[TrainState, Batch, jax.Array], tuple[Gradients, Carried]]


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

    batches = jax.tree.map(lambda x: interleaved(x, parts), batch)
    ticks = state.step * parts + jnp.arange(parts)

    def add(
        carry: tuple[Gradients, Carried], part: tuple[Batch, jax.Array]
    ) -> tuple[tuple[Gradients, Carried], None]:
        sums, carried = carry
        current = state.replace(**carried._asdict())
        gradients, carried = compute(current, *part)
        return (jax.tree.map(jnp.add, sums, gradients), carried), None

    # The sums start as zeros in the shapes of one part's gradients.
    first_batch = jax.tree.map(lambda x: x[0], batches)
    shapes, _ = jax.eval_shape(compute, state, first_batch, ticks[0])
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    first = Carried(state.batch_stats, state.target_stats, state.memory)

    # XLA's convolutions on CPUs take many times longer inside a loop.
    unroll = jax.default_backend() == "cpu"
    (sums, carried), _ = jax.lax.scan(add, (zeros, first), (batches, ticks), unroll=unroll)
    return jax.tree.map(lambda x: x / parts, sums), carried


def interleaved(rows: jax.Array, parts: int) -> jax.Array:
    """[B, ...] -> [parts, B / parts, ...]; part i holds the rows i, i + parts, ..."""
    return rows.reshape(-1, parts, *rows.shape[1:]).swapaxes(0, 1)
