"""A batch divided into what the extractor sees lensed and what it sees raw.

The views of an image lie side by side in every array, so that some of the images are a slice, and
one view of each image is a stride.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.lens.lens import LENSED, Lens
from lens_jax.tasks.base import Views

ByKind = dict[str, Any]
MakeViews = Callable[[jax.Array], Views]


class Division(NamedTuple):
    """A batch divided into kinds, before anything is altered.

    Attributes:
      views: by kind; the inputs of lensed ones are still as they were.
      per_image: number of views of an image.
      original: what is to be altered, views or whole images [n, h, w, 3]; None: nothing is.
      to_inputs: what was altered -> lensed inputs.

    """

    views: dict[str, Views]
    per_image: int
    original: jax.Array | None
    to_inputs: Callable[[jax.Array], jax.Array]


def divide(lens: Lens, images: jax.Array, make_views: MakeViews) -> Division:
    """Divides a batch into the first images, to be altered, and the last ones, seen as they are.

    Args:
      lens: which images are of which kind, and whether views or images are altered.
      images: [B, h, w, 3] in [-1, 1].
      make_views: images -> the task's views of them; every call draws the same.

    """
    count = len(images)
    rows = lens.rows(count)
    all_views = make_views(images)
    per_image = len(all_views.inputs) // count
    views = {}
    for kind, part in rows.items():
        views[kind] = take_images(all_views, count, part)

    def unchanged(altered: jax.Array) -> jax.Array:
        return altered

    def make_inputs(altered: jax.Array) -> jax.Array:
        # The views are made of a whole batch, so that every image has the draws of its row.
        rest = images[len(altered) :]
        altered_views = make_views(jnp.concatenate([altered, rest]))
        return take_images(altered_views, count, rows[LENSED]).inputs

    if LENSED not in views:
        return Division(views, per_image, None, unchanged)
    if lens.acts_on == "views":
        return Division(views, per_image, views[LENSED].inputs, unchanged)
    return Division(views, per_image, images[rows[LENSED]], make_inputs)


def take_images(tree: Any, count: int, images: slice) -> Any:
    """What belongs to some of `count` images, in arrays whose lengths are multiples of it."""

    def take(array: jax.Array) -> jax.Array:
        per_image = len(array) // count
        start = images.start * per_image
        stop = images.stop * per_image
        return array[start:stop]

    return jax.tree.map(take, tree)


def choose_views(tree: Any, chosen: tuple[int, ...] | None, per_image: int) -> Any:
    """The rows of some of the views of each image; None: of all."""
    if chosen is None or chosen == tuple(range(per_image)):
        return tree
    indices = jnp.array(chosen)

    def choose(array: jax.Array) -> jax.Array:
        shape = array.shape[1:]
        by_image = array.reshape(-1, per_image, *shape)
        return by_image[:, indices].reshape(-1, *shape)

    return jax.tree.map(choose, tree)


def join_kinds(by_kind: ByKind) -> Any:
    """Trees by kind -> one tree, the rows of one kind after those of the other."""

    def join(*parts: jax.Array) -> jax.Array:
        return jnp.concatenate(parts)

    return jax.tree.map(join, *by_kind.values())


def divide_kinds(tree: Any, images: dict[str, int]) -> ByKind:
    """The inverse of `join_kinds`, for so many images of each kind."""
    total = sum(images.values())
    start = 0
    by_kind = {}
    for kind, count in images.items():
        part = slice(start, start + count)
        by_kind[kind] = take_images(tree, total, part)
        start += count
    return by_kind
