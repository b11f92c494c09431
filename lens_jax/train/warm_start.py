"""Begins a run with the networks of another run, or of a published one."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lens_jax.errors import UserError
from lens_jax.train.state import TrainState
from lens_jax.workdir.arrays import read_newest_arrays
from lens_jax.workdir.checkpoints import saved_steps

# The parts of the state that are networks. Optimizers, memory and step begin anew.
NETWORKS = ("params", "batch_stats", "target_params", "target_stats", "lens_params")
# A target network begins as a copy where the other run had none.
COPIED_FROM = {"target_params": "params", "target_stats": "batch_stats"}
MOST_NAMED = 5


def check(workdir: str) -> None:
    """Raises `UserError` where there is no checkpoint to begin with, before anything is written."""
    if not saved_steps(workdir):
        raise UserError(f"no checkpoint in --init {workdir}: give the folder of a run that has one")


class Taken(NamedTuple):
    """What a state has taken over from another one.

    Attributes:
      state: the state, sharded as it was.
      counts: for each part of it, how many arrays were taken and how many there are.
      left: the names of the arrays that stay as they are drawn.

    """

    state: TrainState
    counts: dict[str, tuple[int, int]]
    left: tuple[str, ...]


def begin_from(state: TrainState, workdir: str) -> TrainState:
    """The state with the networks of the newest intact checkpoint of another run.

    An array is taken where it has the same name and shape in both; the first process prints how
    many were. Raises `UserError` where none fits, or there is no checkpoint that can be read.
    """
    step, arrays = read_newest_arrays(workdir)
    taken = take(state, arrays)
    source = f"checkpoint {step} of {workdir}"
    total = sum(count for count, _ in taken.counts.values())
    if not total:
        raise UserError(
            f"nothing in {source} fits this config's networks: give --init a run of the same "
            "model, or leave it away"
        )
    if jax.process_index() == 0:
        print(describe(taken, source), flush=True)
    return taken.state


def take(state: TrainState, arrays: dict[str, Any]) -> Taken:
    """Takes over what fits from the arrays of another state.

    Args:
      state: the state to begin with.
      arrays: those of the other state, as nested dictionaries by the names of its parts.

    """
    parts = {}
    counts = {}
    left = []
    for part in NETWORKS:
        own = getattr(state, part)
        theirs = arrays.get(part) or arrays.get(COPIED_FROM.get(part), {})
        found = _by_name(theirs)
        leaves, structure = jax.tree_util.tree_flatten_with_path(own)

        new = []
        fitting = 0
        for path, leaf in leaves:
            name = _name(path)
            value = found.get(name)
            if value is not None and value.shape == leaf.shape:
                new.append(_like(leaf, value))
                fitting += 1
            else:
                new.append(leaf)
                left.append(f"{part}/{name}")
        parts[part] = jax.tree.unflatten(structure, new)
        if leaves:
            counts[part] = fitting, len(leaves)
    return Taken(state.replace(**parts), counts, tuple(left))


def describe(taken: Taken, source: str) -> str:
    """What was taken from where, and what was left, in one line or two."""
    parts = []
    for part, (fitting, total) in taken.counts.items():
        parts.append(f"{part} {fitting} of {total} arrays")
    text = f"began with {source}: {', '.join(parts)}"
    if not taken.left:
        return text
    named = ", ".join(taken.left[:MOST_NAMED])
    more = len(taken.left) - MOST_NAMED
    others = f" and {more} more" if more > 0 else ""
    return f"{text}\nof no such name or shape there, and left as drawn: {named}{others}"


def _by_name(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): leaf for path, leaf in leaves}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _like(leaf: jax.Array, value: np.ndarray) -> jax.Array:
    """The value in the type and with the sharding of the array that it replaces."""
    value = np.asarray(value, leaf.dtype)
    return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: value[index])
