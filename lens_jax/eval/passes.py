"""Passes over a data set on all devices of all processes, every one of which gets all results.

Each process reads its block of every batch's rows, and its devices compute what becomes of them. So
all of them must call the functions here, in the same order and with the same arguments.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lens_jax.data.batches import Batches, Skipped, eval_batches
from lens_jax.data.source import Source
from lens_jax.devices import distributed, mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.tasks.base import Batch

BATCH_SIZE = 256


def run_pass(
    data: ConfigDict,
    source: Source,
    compute: Callable[[Any, Batch], Any],
    given: Any,
    *,
    linear: bool = False,
) -> Iterator[Any]:
    """Yields what `compute(given, batch)` gives for the batches of one pass over `source`, in its
    order.

    Args:
      data: the config's part on data, which says how images are read.
      source: what to read.
      compute: is jitted, over all devices; a batch has "image", "label" and "mask", see
        `eval_batches`.
      given: a tree of arrays, the same in all processes.
      linear: whether images are prepared as for linear evaluation, or as for the pretext task.

    Raises:
      UserError: at the end, in all processes, where more images than `data.max_skipped` did not
        decode.

    """
    skipped, devices = Skipped(source), mesh.make_mesh()
    compiled = jax.jit(
        compute, out_shardings=mesh.replicated(devices), compiler_options=compiler_options()
    )
    given, batches = put_whole(given), _open_pass(data, source, skipped, linear)
    results = (compiled(given, mesh.put_batch(devices, batch)) for batch in batches)
    # In pairs, so that the devices have the next batch to do while the results of one are fetched.
    for result, _ in itertools.pairwise(itertools.chain(results, [None])):
        yield jax.device_get(result)
    distributed.check_skipped(skipped, data.max_skipped)


def _open_pass(data: ConfigDict, source: Source, skipped: Skipped, linear: bool) -> Batches:
    size, crop = linear_size(data), data.linear_crop or data.eval_crop
    return eval_batches(
        source,
        skipped,
        batch_size=divisible(BATCH_SIZE),
        image_size=size if linear else data.image_size,
        crop=crop if linear else data.eval_crop,
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=data.threads,
    )


def linear_size(data: ConfigDict) -> int:
    """The side of the images that linear evaluation reads, in pixels."""
    return data.linear_size or data.image_size


def divisible(batch_size: int) -> int:
    """The smallest batch size from `batch_size` on that all devices can share evenly."""
    return -(-batch_size // jax.device_count()) * jax.device_count()


def put_whole(tree: Any) -> Any:
    """Puts arrays that all processes hold alike on every device."""
    sharding = mesh.replicated(mesh.make_mesh())
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )
