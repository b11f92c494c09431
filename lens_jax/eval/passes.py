"""Passes over a data set on all devices of all processes; every process gets all results.

Each process reads its block of every batch's rows, and its devices compute on them. So all
processes must call the functions here, in the same order and with the same arguments.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lens_jax.data.batches import Batches, Skipped, eval_batches
from lens_jax.data.decode import read_decoding
from lens_jax.data.records import Source
from lens_jax.devices import distributed, mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.tasks.base import Batch

BATCH_SIZE = 256


def run_pass(
    data: ConfigDict,
    source: Source,
    compute: Callable[[Any, Batch], Any],
    state: Any,
    *,
    linear: bool = False,
) -> Iterator[Any]:
    """Yields `compute(state, batch)` for the batches of one pass over `source`, in its order.

    Args:
      data: the config's section on data, which says how images are read.
      source: what to read.
      compute: is jitted, over all devices; a batch has "image", "label" and "mask", see
        `eval_batches`.
      state: a tree of arrays, the same in all processes.
      linear: whether images are prepared as for linear evaluation, or as for the pretext task.

    Raises:
      UserError: at the end, in all processes, where more images than `data.max_skipped` did not
        decode.

    """
    skipped = Skipped(source)
    devices = mesh.make_mesh()
    # Replicated, so that every process can fetch whole results.
    compiled = jax.jit(
        compute, out_shardings=mesh.replicated(devices), compiler_options=compiler_options()
    )
    state = replicate(state)

    # Results are fetched one batch late, so that the devices already compute the next one.
    pending = None
    for batch in _open_pass(data, source, skipped, linear):
        result = compiled(state, mesh.put_batch(devices, batch))
        if pending is not None:
            yield jax.device_get(pending)
        pending = result
    if pending is not None:
        yield jax.device_get(pending)
    distributed.check_skipped(skipped, data.max_skipped)


def _open_pass(data: ConfigDict, source: Source, skipped: Skipped, linear: bool) -> Batches:
    size = data.image_size
    crop = data.eval_crop
    if linear:
        size = linear_size(data)
        crop = linear_crop(data)
    return eval_batches(
        source,
        skipped,
        batch_size=round_up_to_devices(BATCH_SIZE),
        image_size=size,
        crop=crop,
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=data.threads,
        decoding=read_decoding(data),
    )


def linear_size(data: ConfigDict) -> int:
    """The side of the images that linear evaluation reads, in pixels."""
    return data.linear_size or data.image_size


def linear_crop(data: ConfigDict) -> str:
    """How images become squares for linear evaluation, one of `crops.EVAL_CROPS`."""
    return data.linear_crop or data.eval_crop


def round_up_to_devices(batch_size: int) -> int:
    """The smallest batch size from `batch_size` on that all devices can share evenly."""
    devices = jax.device_count()
    return -(-batch_size // devices) * devices


def replicate(tree: Any) -> Any:
    """Puts arrays that are the same in all processes on every device."""
    sharding = mesh.replicated(mesh.make_mesh())

    def put(array: Any) -> jax.Array:
        return jax.make_array_from_process_local_data(sharding, np.asarray(array))

    return jax.tree.map(put, tree)
