"""Checkpoints: the only file that knows Orbax.

A checkpoint holds two items: `state`, the `TrainState`, and `run`, a JSON object with the position
in the data, the config, the versions of the libraries and what else an evaluation must know. Beside
them lie the digests of their files, without which a flipped bit in an array would go unnoticed.
"""

import importlib.metadata
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from lens_jax.errors import UserError, reason
from lens_jax.workdir import digests, files

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Restored(NamedTuple):
    """A checkpoint's step, its state and its `run` object."""

    step: int
    state: Any
    run: dict[str, Any]


class DamagedError(UserError):
    """A checkpoint that is not as it was written."""


def open_checkpoints(workdir: str, keep: int | None = None) -> ocp.CheckpointManager:
    """The checkpoints in `workdir`, of which the `keep` newest are kept (None: all, for readers).

    Saves run in the background; `close` waits for the last one and must always be called. With
    `keep`, what a killed run had not finished to save is removed.
    """
    folder = _folder(workdir)
    # Called between the writing of the items and the renaming that makes them a checkpoint.
    callback = partial(_digest_unfinished, folder)
    # Readers must not wait for one another: a checkpoint may be deleted after only some of them
    # have read it.
    alone = None if keep or jax.process_count() == 1 else {jax.process_index()}
    return ocp.CheckpointManager(
        folder,
        options=ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=not alone,
            cleanup_tmp_directories=keep is not None,
            async_options=ocp.options.AsyncOptions(post_finalization_callback=callback),
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=jax.process_index() if alone else 0, active_processes=alone
            ),
        ),
        item_handlers={
            "state": ocp.StandardCheckpointHandler(),
            "run": ocp.JsonCheckpointHandler(),
        },
    )


@contextmanager
def open_for_training(workdir: str, keep: int) -> Iterator[ocp.CheckpointManager]:
    """Opens and closes the checkpoints in `workdir`; `UserError` where the last save has failed."""
    with _explained(workdir):
        manager = open_checkpoints(workdir, keep)
    try:
        yield manager
    finally:
        with _explained(workdir):
            manager.close()


def saved_steps(workdir: str) -> list[int]:
    """The steps of the finished checkpoints in `workdir`, oldest first; none without such a folder."""
    folder = _folder(workdir)
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.exists() else []


def _folder(workdir: str) -> epath.Path:
    return epath.Path(workdir).absolute() / files.CHECKPOINTS_FOLDER


def _digest_unfinished(folder: epath.Path) -> None:
    finished = set(ocp.utils.checkpoint_steps_paths(folder))
    for path in folder.iterdir():
        if path.is_dir() and path not in finished:
            digests.write_digests(path)


def save(manager: ocp.CheckpointManager, step: int, state: Any, run: dict[str, Any]) -> None:
    """Starts saving; raises `UserError` where this or an earlier save cannot be written."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    run = run | {"format": files.FORMAT, "versions": versions}
    with _explained(manager.directory):
        manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run)),
        )


def check_saved(manager: ocp.CheckpointManager) -> None:
    """Raises `UserError` where the last save has failed; one that is under way is not waited for."""
    if not manager.is_saving_in_progress():
        with _explained(manager.directory):
            manager.wait_until_finished()


@contextmanager
def _explained(folder: epath.PathLike) -> Iterator[None]:
    """Turns what the file system refuses into a `UserError`; TensorStore raises that as a `ValueError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot save a checkpoint in {folder}: {reason(error)}; make room "
            "there or permit writing, and start again to go on from the last one that was saved"
        ) from error


def read_run(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """The `run` object of one checkpoint; raises `DamagedError` where it is not as it was written."""
    _check_intact(manager, step, "run")
    run = manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore()))["run"]
    files.check_format(run, f"checkpoint {step} in {manager.directory}")
    return run


def restore(manager: ocp.CheckpointManager, step: int, like: Any, sharding: Any = None) -> Restored:
    """Reads one checkpoint into the shapes and types of `like`, placed as `sharding`, a tree like
    it, says.

    Raises `DamagedError` where it is not as it was written, and `UserError` where it has other
    arrays: Orbax alone would cast types silently.
    """
    _check_intact(manager, step, ".")
    read_run(manager, step)  # refuses another format
    _check_fits(manager, step, like)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    sharding = jax.tree.map(lambda _: here, like) if sharding is None else sharding
    target = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), like, sharding
    )
    restored = manager.restore(
        step,
        args=ocp.args.Composite(state=ocp.args.StandardRestore(target), run=ocp.args.JsonRestore()),
    )
    return Restored(step, restored["state"], restored["run"])


def restore_newest(
    manager: ocp.CheckpointManager, like: Any, sharding: Any = None
) -> Restored | None:
    """Reads the newest checkpoint that is intact, see `restore`; None where there is no checkpoint.

    Newer ones that are damaged are moved to "checkpoints_damaged" in the work directory, one line
    for each. Where none is intact, they stay where they are, and a `UserError` says so.
    """
    with _explained(manager.directory):
        manager.wait_until_finished()
    damaged: dict[int, DamagedError] = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            restored = restore(manager, step, like, sharding)
        except DamagedError as error:
            damaged[step] = error
            continue
        multihost_utils.assert_equal(step, "the processes read different checkpoints")
        for step, error in damaged.items():
            _set_aside(manager, step, error)
        return restored
    if damaged:
        raise UserError(
            f"none of the {len(damaged)} checkpoints in {manager.directory} can be read: restore them from a "
            f"copy, or give another --workdir ({next(iter(damaged.values()))})"
        )
    return None


def _set_aside(manager: ocp.CheckpointManager, step: int, error: DamagedError) -> None:
    if jax.process_index() == 0:
        folder = manager.directory.parent / files.DAMAGED_FOLDER
        folder.mkdir(exist_ok=True)
        names = itertools.chain([f"{step}"], (f"{step}-{again}" for again in itertools.count(2)))
        target = next(folder / name for name in names if not (folder / name).exists())
        (manager.directory / str(step)).rename(target)
        print(f"{error}; moved it to {target}", flush=True)
    multihost_utils.sync_global_devices(f"set aside {step}")
    manager.reload()


def _check_intact(manager: ocp.CheckpointManager, step: int, part: str) -> None:
    """Raises `DamagedError` where the files of a part of a checkpoint are not as they were written."""
    if damage := digests.find_damage(manager.directory / str(step), part):
        raise DamagedError(f"checkpoint {step} in {manager.directory} is damaged: {damage}")


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
        jax.tree_util.keystr(p, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}"
        for p, x in leaves
    }
