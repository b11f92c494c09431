"""The data that a run was trained on, kept with it, and whether it is still the same."""

from typing import Any

from lens_jax.data.records import Source
from lens_jax.errors import UserError
from lens_jax.tasks.base import Task
from lens_jax.tasks.memory_bank import count_rows


def describe(source: Source) -> dict[str, Any]:
    """What a checkpoint keeps of its data, beside the classes and the number of images."""
    return {
        "dataset": source.dataset,
        "folder": source.folder,
        "split": source.split,
        "fingerprint": source.fingerprint,
        "textures": source.textures,
    }


def difference(run: dict[str, Any], source: Source) -> str | None:
    """What differs between the data of a checkpoint and `source`; None where nothing does.

    A run from before fingerprints were kept is compared by its classes and number of images.

    Args:
      run: the `run` object of the checkpoint.
      source: the data to go on with.

    """
    before = run.get("data", {})
    changes = _class_changes(run["class_names"], source.class_names)

    added = len(source) - run["examples"]
    if added:
        more_or_fewer = "more" if added > 0 else "fewer"
        count = abs(added)
        images = "image" if count == 1 else "images"
        changes.append(f"{count:,} {images} {more_or_fewer} than {run['examples']:,}")
    if changes:
        return "; ".join(changes)

    kept = before.get("fingerprint")
    if kept is None:
        return None
    if kept == source.fingerprint:
        same = before.get("textures", "") == source.textures
        return None if same else "the same images, with other textures"
    if before["dataset"] != source.dataset:
        return f"{before['dataset']} then, {source.dataset} now"
    return "as many images, of other names or sizes"


def _class_changes(before: list[str], now: tuple[str, ...]) -> list[str]:
    gone = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    changes = []
    if gone:
        changes.append(f"no class {_list(gone)} any more")
    if new:
        changes.append(f"a new class {_list(new)}")
    return changes


def _list(names: list[str]) -> str:
    """The names, quoted; of many the first three and how many more there are."""
    quoted = ", ".join(repr(name) for name in names[:3])
    more = len(names) - 3
    return f"{quoted} and {more:,} more" if more > 0 else quoted


def check(run: dict[str, Any], source: Source, workdir: str, *, task: Task, allowed: bool) -> None:
    """Raises `UserError` where the data is not what a run began with, unless that is `allowed`.

    A run cannot go on with another number of classes, which its networks are made for, nor with a
    memory of each image that has other rows.
    """
    changed = difference(run, source)
    if changed is None:
        return
    line = f"the data has changed since {workdir} was trained on it: {changed}"
    misfit = _class_misfit(run, source)
    if misfit is None and task.shards_memory:
        misfit = _memory_misfit(run, source)
    if misfit is not None:
        raise UserError(
            f"{line}; {misfit}: restore them, or give another --workdir, with --init={workdir} to "
            "begin with its networks"
        )
    if not allowed:
        raise UserError(
            f"{line}; restore it, give another --workdir, or go on with lens_jax.main and "
            "--allow_changed_data"
        )
    print(f"{line}; going on, as it is allowed", flush=True)


def _class_misfit(run: dict[str, Any], source: Source) -> str | None:
    before, now = len(run["class_names"]), len(source.class_names)
    if before == now:
        return None
    return f"a run goes on with {before} classes only, not with {now}"


def _memory_misfit(run: dict[str, Any], source: Source) -> str | None:
    before, now = run["examples"], len(source)
    rows_before, rows_now = count_rows(before), count_rows(now)
    if rows_before == rows_now:
        return None
    return (
        f"its memory has {rows_before:,} rows for {before:,} images, and would need {rows_now:,} "
        f"for {now:,}"
    )
