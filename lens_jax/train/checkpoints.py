"""Checkpoints: the only file that knows Orbax.

A checkpoint holds two items: `state`, the `TrainState`, and `run`, a JSON object with the position in
the data, the config, the versions of the libraries and what else an evaluation must know.
"""

import importlib.metadata
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from lens_jax.errors import UserError

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Restored(NamedTuple):
    """A checkpoint's step, its state and its `run` object."""

    step: int
    state: Any
    run: dict[str, Any]


def open_checkpoints(workdir: str, keep: int | None = None) -> ocp.CheckpointManager:
    """The checkpoints in `workdir`, of which the `keep` newest are kept (None: all, for readers).

    Saves run in the background; `close` waits for the last one and must always be called.
    """
    return ocp.CheckpointManager(
        _folder(workdir),
        options=ocp.CheckpointManagerOptions(max_to_keep=keep),
        item_handlers={"state": ocp.StandardCheckpointHandler(), "run": ocp.JsonCheckpointHandler()},
    )


def saved_steps(workdir: str) -> list[int]:
    """The steps of the finished checkpoints in `workdir`, oldest first; none without such a folder."""
    folder = _folder(workdir)
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.exists() else []


def _folder(workdir: str) -> epath.Path:
    return epath.Path(workdir).absolute() / "checkpoints"


def save(manager: ocp.CheckpointManager, step: int, state: Any, run: dict[str, Any]) -> None:
    """Starts saving; raises what an earlier save in the background ran into."""
    manager.check_for_errors()
    run = run | {"versions": {name: importlib.metadata.version(name) for name in PACKAGES}}
    manager.save(
        step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run))
    )


def read_run(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """The `run` object of one checkpoint."""
    return manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore()))["run"]


def restore(
    manager: ocp.CheckpointManager, step: int, like: Any, sharding: jax.sharding.Sharding | None = None
) -> Restored:
    """Reads one checkpoint into the shapes and types of `like`, placed as `sharding` says.

    Raises `UserError` where the checkpoint has other arrays: Orbax alone would cast types silently.
    """
    _check_fits(manager, step, like)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
    restored = manager.restore(
        step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target), run=ocp.args.JsonRestore())
    )
    return Restored(step, restored["state"], restored["run"])


def _check_fits(manager: ocp.CheckpointManager, step: int, like: Any) -> None:
    saved = _flat(manager.item_metadata(step)["state"].tree)
    wanted = _flat(ocp.tree.serialize_tree(like, keep_empty_nodes=True))
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            raise UserError(
                f"checkpoint {step} in {manager.directory} does not fit its config: {name} is "
                f"{saved.get(name, 'absent')}, not {wanted.get(name, 'absent')}; use the code that wrote it"
            )


def _flat(tree: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, "dtype"))
    return {
        jax.tree_util.keystr(p, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}" for p, x in leaves
    }
