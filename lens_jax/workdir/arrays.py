"""The arrays of a checkpoint, whatever config it was saved with."""

from contextlib import closing
from typing import Any

import jax
import orbax.checkpoint as ocp

from lens_jax.errors import UserError
from lens_jax.workdir.checkpoints import (
    DamagedError,
    check_intact,
    open_checkpoints,
    read_run,
    saved_steps,
)


def read_newest_arrays(workdir: str) -> tuple[int, dict[str, Any]]:
    """The step and the arrays of the newest intact checkpoint in `workdir`.

    The arrays are nested dictionaries by the names of the state's parts, all on one device. Raises
    `UserError` where there is no checkpoint, or the newest is of another format.
    """
    error = UserError(f"no checkpoint in {workdir}: give the folder of a run that has one")
    for step in reversed(saved_steps(workdir)):
        with closing(open_checkpoints(workdir)) as manager:
            try:
                check_intact(manager, step, ".")
            except DamagedError as damaged:
                error = damaged
                continue
            read_run(manager, step)  # which refuses other formats
            return step, _read_arrays(manager, step)
    raise error


def _read_arrays(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    device = jax.local_devices()[0]
    on_one = jax.sharding.SingleDeviceSharding(device)

    def is_array(node: Any) -> bool:
        return hasattr(node, "dtype")

    def describe(array: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=on_one)

    # Read as the checkpoint describes itself.
    metadata = manager.item_metadata(step)["state"]
    target = jax.tree.map(describe, metadata.tree, is_leaf=is_array)
    items = ocp.args.Composite(state=ocp.args.StandardRestore(target))
    restored = manager.restore(step, args=items)
    return restored["state"]
