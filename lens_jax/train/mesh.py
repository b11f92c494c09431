"""The device mesh, made here and nowhere else."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh() -> Mesh:
    """All devices on one axis, "data". Its type is Auto: the compiler, not the user, places intermediates."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of the train state."""
    return NamedSharding(mesh, PartitionSpec())


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    """The process's own part of a batch -> global arrays, sharded over "data" along the first axis."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return {key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()}
