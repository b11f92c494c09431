"""Checkpoints: the only file that knows Orbax.

A checkpoint holds two items: `state`, the `TrainState`, and `run`, a JSON object with the format,
the position in the data, the config, the versions of the libraries and what else an evaluation must
know. Beside them lie the digests of their files, without which a flipped bit in an array would go
unnoticed.
"""

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from lens_jax.errors import UserError, reason
from lens_jax.workdir import digests, files
from lens_jax.workdir.shapes import describe_arrays

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Restored(NamedTuple):
    """A checkpoint's step, its state and its `run` object."""

    step: int
    state: Any
    run: dict[str, Any]


class DamagedError(UserError):
    """A checkpoint that is not as it was written."""


def open_checkpoints(workdir: str, keep: int | None = None) -> ocp.CheckpointManager:
    """Opens the checkpoints in `workdir`.

    Saves run in the background; `close` waits for the last one and must always be called.

    Args:
      workdir: the folder of a run.
      keep: how many of the newest checkpoints a training keeps; what a killed one did not finish to
        save is removed. None keeps all, for readers.

    """
    folder = _folder(workdir)
    # Called between the writing of the items and the renaming that makes them a checkpoint.
    write_digests = partial(_write_digests, folder)

    # Readers must not wait for one another: a checkpoint may be deleted when only some of them have
    # read it.
    alone = keep is None and jax.process_count() > 1
    process = jax.process_index()
    processes = ocp.options.MultiprocessingOptions(
        primary_host=process if alone else 0,
        active_processes={process} if alone else None,
    )
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=not alone,
        cleanup_tmp_directories=keep is not None,
        async_options=ocp.options.AsyncOptions(post_finalization_callback=write_digests),
        multiprocessing_options=processes,
    )
    handlers = {
        "state": ocp.StandardCheckpointHandler(),
        "run": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


@contextmanager
def open_for_training(workdir: str, keep: int) -> Iterator[ocp.CheckpointManager]:
    """Opens and closes the checkpoints in `workdir`; `UserError` where the last save has failed."""
    with _saving_to(workdir):
        manager = open_checkpoints(workdir, keep)
    try:
        yield manager
    finally:
        # Closing waits for the last save, whose failure shows only then.
        with _saving_to(workdir):
            manager.close()
        _check_found(manager)


def saved_steps(workdir: str) -> list[int]:
    """The steps of the finished checkpoints in `workdir`, oldest first; none without a folder."""
    folder = _folder(workdir)
    if not folder.exists():
        return []
    return sorted(ocp.utils.checkpoint_steps(folder))


def _folder(workdir: str) -> epath.Path:
    files.check_name(workdir)
    return epath.Path(workdir).absolute() / files.CHECKPOINTS_FOLDER


def _write_digests(folder: epath.Path) -> None:
    """Writes the digests of the checkpoints that are not finished yet."""
    finished = set(ocp.utils.checkpoint_steps_paths(folder))
    for path in folder.iterdir():
        if path.is_dir() and path not in finished:
            digests.write_digests(path)


def save(manager: ocp.CheckpointManager, step: int, state: Any, run: dict[str, Any]) -> None:
    """Starts saving; raises `UserError` where this save or the one before cannot be written."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    run = run | {"format": files.FORMAT, "versions": versions}
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        run=ocp.args.JsonSave(run),
    )
    with _saving_to(manager.directory):
        manager.wait_until_finished()
    _check_found(manager)
    with _saving_to(manager.directory):
        manager.save(step, args=items)


def _check_found(manager: ocp.CheckpointManager) -> None:
    """Raises `UserError` unless the last finished save is found where readers look for it."""
    step = manager.latest_step()
    if step is not None and step not in ocp.utils.checkpoint_steps(manager.directory):
        raise UserError(
            f"checkpoint {step} was saved in {manager.directory} and is not found there: the "
            "folder was renamed or removed meanwhile, or its name cannot be read; restore it and "
            "start again"
        )


def check_saved(manager: ocp.CheckpointManager) -> None:
    """Raises `UserError` where the last save has failed; one that goes on is not waited for."""
    if not manager.is_saving_in_progress():
        with _saving_to(manager.directory):
            manager.wait_until_finished()


@contextmanager
def _saving_to(folder: epath.PathLike) -> Iterator[None]:
    """Turns what the file system refuses into a `UserError`; TensorStore raises a `ValueError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot save a checkpoint in {folder}: {reason(error)}; make room there or permit "
            "writing, and start again to go on from the last one that was saved"
        ) from error


def read_run(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Reads the `run` object of one checkpoint.

    Raises `DamagedError` where it is not as it was written, and `UserError` where it is of another
    format.
    """
    check_intact(manager, step, "run")
    return _read_run(manager, step)


def restore(
    manager: ocp.CheckpointManager,
    step: int,
    like: Any,
    sharding: Any = None,
    check: Callable[[dict[str, Any]], None] | None = None,
) -> Restored:
    """Reads one checkpoint.

    Args:
      manager: of the checkpoints.
      step: which of them.
      like: the arrays of the state, or their shapes and types.
      sharding: the sharding of each array, a tree like `like`; None puts all on one device.
      check: raises for a `run` object that must not be read on, before any array is.

    Raises:
      DamagedError: it is not as it was written.
      UserError: it is of another format, or has other arrays than `like`: Orbax alone would cast
        types silently.

    """
    # What cannot be right is refused before the arrays are read.
    check_intact(manager, step, ".")
    run = _read_run(manager, step)
    if check is not None:
        check(run)
    _check_fits(manager, step, like)

    if sharding is None:
        device = jax.local_devices()[0]
        on_one = jax.sharding.SingleDeviceSharding(device)
        sharding = jax.tree.map(lambda _: on_one, like)

    def describe(array: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    target = jax.tree.map(describe, like, sharding)
    items = ocp.args.Composite(state=ocp.args.StandardRestore(target))
    restored = manager.restore(step, args=items)
    return Restored(step, restored["state"], run)


def restore_newest(
    manager: ocp.CheckpointManager,
    like: Any,
    sharding: Any = None,
    check: Callable[[dict[str, Any]], None] | None = None,
) -> Restored | None:
    """Reads the newest checkpoint that is intact, see `restore`; None where there is no checkpoint.

    Newer ones that are damaged are moved to "checkpoints_damaged" in the work directory, and a line
    is printed for each. Where none is intact, they stay where they are, and `UserError` is raised.
    """
    with _saving_to(manager.directory):
        manager.wait_until_finished()

    damaged: dict[int, DamagedError] = {}
    steps = sorted(manager.all_steps(), reverse=True)
    for step in steps:
        try:
            restored = restore(manager, step, like, sharding, check)
        except DamagedError as error:
            damaged[step] = error
            continue
        multihost_utils.assert_equal(step, "the processes read different checkpoints")
        # Only now, as the damaged ones stay where none is intact.
        for newer, error in damaged.items():
            _set_aside(manager, newer, error)
        return restored

    if not damaged:
        return None
    newest = next(iter(damaged.values()))
    raise UserError(
        f"none of the {len(damaged)} checkpoints in {manager.directory} can be read: restore them "
        f"from a copy, or give another --workdir ({newest})"
    )


def _set_aside(manager: ocp.CheckpointManager, step: int, error: DamagedError) -> None:
    """Moves a damaged checkpoint out of the way, to a name that is free."""
    # The first process moves it for all, and the others wait.
    if jax.process_index() == 0:
        folder = manager.directory.parent / files.DAMAGED_FOLDER
        folder.mkdir(exist_ok=True)
        target = folder / f"{step}"
        copy = 1
        while target.exists():
            copy += 1
            target = folder / f"{step}-{copy}"
        checkpoint = manager.directory / f"{step}"
        checkpoint.rename(target)
        print(f"{error}; moved it to {target}", flush=True)
    multihost_utils.sync_global_devices(f"set aside {step}")
    manager.reload()


def check_intact(manager: ocp.CheckpointManager, step: int, part: str) -> None:
    """Raises `DamagedError` where files of a part of a checkpoint are not as they were written."""
    checkpoint = manager.directory / f"{step}"
    damage = digests.find_damage(checkpoint, part)
    if damage:
        raise DamagedError(f"checkpoint {step} in {manager.directory} is damaged: {damage}")


def _read_run(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """The `run` object of an intact checkpoint, which is of this code's format."""
    items = ocp.args.Composite(run=ocp.args.JsonRestore())
    restored = manager.restore(step, args=items)
    run = restored["run"]
    files.check_format(run, f"checkpoint {step} in {manager.directory}")
    return run


def _check_fits(manager: ocp.CheckpointManager, step: int, like: Any) -> None:
    """Raises `UserError` unless a checkpoint has the arrays of `like`."""
    metadata = manager.item_metadata(step)["state"]
    tree = ocp.tree.serialize_tree(like, keep_empty_nodes=True)
    saved = describe_arrays(metadata.tree)
    wanted = describe_arrays(tree)
    for name in sorted(saved.keys() | wanted.keys()):
        found = saved.get(name, "absent")
        expected = wanted.get(name, "absent")
        if found != expected:
            raise UserError(
                f"checkpoint {step} in {manager.directory} does not fit its config: {name} is "
                f"{found}, not {expected}; use the code and the data that it was saved with"
            )
