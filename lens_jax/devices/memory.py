"""How much memory a device has, and what would not fit."""

import math
from typing import Any

import jax

from lens_jax.errors import UserError


def bytes_per_device() -> int:
    """The bytes that JAX may use on a device of this process.

    Accelerators tell their own limit. Where there is none to be had, as of a CPU, it is what the
    host has left, over the devices that share it.
    """
    devices = jax.local_devices()
    statistics = devices[0].memory_stats() or {}
    limit = statistics.get("bytes_limit")
    if limit is not None:
        return limit

    # Only here, as machines whose accelerators are measured need not have it.
    import psutil

    return psutil.virtual_memory().available // len(devices)


def check_fits(what: str, arrays: Any) -> None:
    """Raises `UserError` where arrays would take more than all of a device.

    Args:
      what: begins the message, such as "what task 'moco' remembers".
      arrays: their shapes, types and sharding, before any of them is made.

    """
    needed = 0
    for array in jax.tree.leaves(arrays):
        shape = array.sharding.shard_shape(array.shape)
        needed += math.prod(shape) * array.dtype.itemsize
    limit = bytes_per_device()
    if needed > limit:
        raise UserError(
            f"{what} takes {needed:,} bytes on each device, which has {limit:,}: make "
            "task.embedding, task.queue or the networks smaller, or take more devices"
        )


def check_step_fits(step: jax.stages.Compiled) -> None:
    """Raises `UserError` where a step computes more at a time than all of a device holds.

    What it holds beside its arguments and results is known once it is compiled. Where it leaves too
    little for these, it is up to the device to say so.
    """
    sizes = step.memory_analysis()
    if sizes is None:
        return
    needed = sizes.temp_size_in_bytes
    limit = bytes_per_device()
    if needed > limit:
        raise UserError(
            f"a step computes {needed:,} bytes at a time on each device, which has {limit:,}: make "
            "data.batch_size or the network's widths smaller, train.accumulate larger, or take "
            "more devices"
        )
