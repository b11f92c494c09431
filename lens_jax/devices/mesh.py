"""The device mesh, made here and nowhere else."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Smaller arrays cost more to gather than to keep.
LEAST_SHARDED = 2**10


def make_mesh(fsdp: int = 1) -> Mesh:
    """All devices, in two axes: "data", and "fsdp" over which the train state is divided.

    A batch is divided over both. Their type is Auto: the compiler, not the user, places
    intermediates.
    """
    shape = (jax.device_count() // fsdp, fsdp)
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto, AxisType.Auto))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def state_sharding(mesh: Mesh, state: Any) -> Any:
    """The sharding of each array of a train state: over "fsdp", along its longest axis that divides
    evenly.

    Small arrays, and those that no axis of divides, are whole on every device.
    """

    def place(array: jax.ShapeDtypeStruct) -> NamedSharding:
        axes = [axis for axis, length in enumerate(array.shape) if length % mesh.shape["fsdp"] == 0]
        if mesh.shape["fsdp"] == 1 or array.size < LEAST_SHARDED or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "fsdp"))

    return jax.tree.map(place, state)


def with_sharding(shapes: Any, sharding: Any) -> Any:
    """Shapes and types of arrays -> the same, with where each array lies."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, sharding
    )


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    """The process's own part of a batch -> global arrays, sharded over all devices along the first axis."""
    sharding = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    return {
        key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()
    }
