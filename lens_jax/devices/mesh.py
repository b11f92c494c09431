"""The device mesh, made here and nowhere else."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Smaller arrays cost more to gather than to keep.
LEAST_SHARDED = 2**10


def make_mesh(fsdp: int = 1) -> Mesh:
    """All devices in two axes, "data" and "fsdp"; the latter is `fsdp` devices long.

    A batch is sharded over both axes, a train state over "fsdp" alone. Their type is Auto: the
    compiler, not the user, chooses how intermediate results are sharded.
    """
    data = jax.device_count() // fsdp
    return jax.make_mesh(
        (data, fsdp),
        ("data", "fsdp"),
        axis_types=(AxisType.Auto, AxisType.Auto),
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array of which every device holds a full copy."""
    return NamedSharding(mesh, PartitionSpec())


def state_sharding(mesh: Mesh, state: Any) -> Any:
    """The sharding of each array of a train state, as a tree like `state`.

    An array is sharded over "fsdp" along its longest axis that this number of devices divides.
    Arrays that have no such axis, or fewer than `LEAST_SHARDED` elements, are replicated.

    Args:
      mesh: of `make_mesh`.
      state: a pytree of arrays or of their shapes.

    """
    devices = mesh.shape["fsdp"]

    def choose(array: jax.ShapeDtypeStruct) -> NamedSharding:
        if devices == 1 or array.size < LEAST_SHARDED:
            return replicated(mesh)
        # The first of the longest axes that this number of devices divides.
        longest, longest_axis = 0, None
        for axis, length in enumerate(array.shape):
            if length % devices == 0 and length > longest:
                longest, longest_axis = length, axis
        if longest_axis is None:
            return replicated(mesh)
        axes_before = [None] * longest_axis
        spec = PartitionSpec(*axes_before, "fsdp")
        return NamedSharding(mesh, spec)

    return jax.tree.map(choose, state)


def row_sharding(mesh: Mesh, tree: Any) -> Any:
    """The sharding of each array of a tree, by rows over all devices, as a tree like it.

    That is for arrays that grow with the data, of which each device keeps its rows. Arrays of a
    number of rows that the devices do not divide, or of fewer than `LEAST_SHARDED` elements, are
    replicated.

    Args:
      mesh: of `make_mesh`.
      tree: a pytree of arrays or of their shapes.

    """

    def choose(array: jax.ShapeDtypeStruct) -> NamedSharding:
        if array.size < LEAST_SHARDED or array.shape[0] % mesh.size:
            return replicated(mesh)
        return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))

    return jax.tree.map(choose, tree)


def with_sharding(shapes: Any, sharding: Any) -> Any:
    """Shapes and types of arrays, and the sharding of each -> one tree that holds both."""

    def add(array: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    return jax.tree.map(add, shapes, sharding)


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts a batch on the devices, sharded over all of them along the first axis.

    Each process gives its own part of the batch; the arrays that are returned are global.
    """
    spec = PartitionSpec(("data", "fsdp"))
    sharding = NamedSharding(mesh, spec)
    arrays = {}
    for name, value in batch.items():
        arrays[name] = jax.make_array_from_process_local_data(sharding, value)
    return arrays
