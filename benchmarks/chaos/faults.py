"""What is wrong with a run's folder, and in what it differs from that of an unbroken run."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from lens_jax.eval.frozen import Frozen, load
from lens_jax.workdir import digests
from lens_jax.workdir.checkpoints import saved_steps
from lens_jax.workdir.files import DAMAGED_FOLDER
from lens_jax.workdir.metrics import read_metrics


def find_unreadable(workdir: Path) -> str:
    """Why the newest checkpoint or the metrics cannot be read; "" where both can."""
    try:
        read_metrics(str(workdir))
        steps = saved_steps(str(workdir))
        if steps:
            load(str(workdir), steps[-1])
    # Whatever the reader raises is what is looked for.
    except Exception as error:
        return f"not readable: {type(error).__name__}: {error}"
    return ""


def leftovers(workdir: Path) -> list[str]:
    """What lies among the checkpoints and is none: a whole one is named by its step alone."""
    folder = workdir / "checkpoints"
    if not folder.exists():
        return []
    return sorted(name for name in os.listdir(folder) if not name.isdecimal())


def find_faults(workdir: Path, unbroken: Path) -> str:
    """In what a run that has ended differs from the unbroken one; "" where in nothing."""
    faults = []
    # What the run ends as.
    expected, found = result(load(str(unbroken))), result(load(str(workdir)))
    for name in differing(expected, found):
        faults.append(f"{name} differs")
    # What it leaves behind: whole checkpoints, and nothing else.
    for name in leftovers(workdir):
        faults.append(f"{name} was left over")
    for step in saved_steps(str(workdir)):
        damage = digests.find_damage(epath.Path(workdir) / "checkpoints" / str(step), ".")
        if damage:
            faults.append(damage)
    if (workdir / DAMAGED_FOLDER).exists():
        faults.append(f"there is {DAMAGED_FOLDER}")
    # How it got there.
    if losses(workdir) != losses(unbroken):
        faults.append("the logged losses differ")
    return "; ".join(faults)


def result(frozen: Frozen) -> dict[str, Any]:
    """What a run ends as: all that must not depend on how often it was ended before."""
    return {
        "step": frozen.step,
        "position": frozen.run["position"],
        "rollbacks": frozen.run["rollbacks"],
        "state": frozen.state,
    }


def differing(one: Any, other: Any) -> list[str]:
    """The names of the leaves of two trees that differ in a bit, in type or in shape.

    A leaf that one tree lacks differs.
    """
    bits, other_bits = _bits_by_name(one), _bits_by_name(other)
    names = sorted(bits | other_bits)
    return [name for name in names if bits.get(name) != other_bits.get(name)]


def _bits_by_name(tree: Any) -> dict[str, tuple[np.dtype, tuple[int, ...], bytes]]:
    bits = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        array = np.asarray(leaf)
        bits[name] = (array.dtype, array.shape, array.tobytes())
    return bits


def losses(workdir: Path) -> list[tuple[float, float]]:
    """The steps and losses that were logged."""
    return [(row["step"], row["loss"]) for row in read_metrics(str(workdir))]
