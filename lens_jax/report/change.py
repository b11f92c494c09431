"""What a lens changed, in numbers; images are float arrays in [-1, 1]."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Change(NamedTuple):
    """What a lens did to B images in their views, small enough to keep where the views are not.

    Attributes:
      inputs: the first view of each image, [B, h, w, 3].
      lensed: the same through the lens, [B, h, w, 3], not clipped.
      losses: mean squared change of each image over its views, [B].
      squared: mean squared change of each pixel over all views, [h, w].
      signed: mean change of each pixel over all views, [h, w].
      mask: share of the views in which a pixel belongs to the shortcut, [h, w].
      inside: `squared`, but counting each view only inside its own mask, [h, w].

    """

    inputs: np.ndarray
    lensed: np.ndarray
    losses: np.ndarray
    squared: np.ndarray
    signed: np.ndarray
    mask: np.ndarray
    inside: np.ndarray


def lay_out(patches: np.ndarray) -> np.ndarray:
    """Nine patches of each of B images, row by row [9B, p, p, ...] -> side by side [B, 3p, 3p, ...]."""
    side, *rest = patches.shape[2:]
    grid = patches.reshape(-1, 3, 3, side, side, *rest).swapaxes(2, 3)
    return grid.reshape(-1, 3 * side, 3 * side, *rest)


def measure(inputs: np.ndarray, lensed: np.ndarray, mask: np.ndarray, views: int) -> Change:
    """Sums up [N, h, w, 3] inputs and what became of them; `mask` is bool [N, h, w].

    The `views` of an image lie next to each other; N is a multiple of their number.
    """
    change = lensed - inputs
    squared = np.mean(change**2, axis=-1)
    return Change(
        inputs=inputs[::views],
        lensed=lensed[::views],
        losses=squared.reshape(len(squared) // views, -1).mean(axis=1),
        squared=squared.mean(axis=0),
        signed=change.mean(axis=(0, -1)),
        mask=mask.mean(axis=0),
        inside=(squared * mask).mean(axis=0),
    )


def join(parts: Iterable[Change]) -> Change:
    """The change over all images of `parts`, which have equally many views of an image."""
    parts = list(parts)
    sizes = [len(part.losses) for part in parts]
    fields = list(zip(*parts, strict=True))
    per_image = [np.concatenate(values) for values in fields[:3]]
    maps = [np.average(values, axis=0, weights=sizes) for values in fields[3:]]
    return Change(*per_image, *maps)


def shares(change: Change) -> dict[str, float]:
    """How much of the squared change lies in the shortcut, and how much of the pixels, all in [0,
    1].

    "mask" is a view's own shortcut, "places" is wherever it lies in any view: a lens may also hide
    it by drawing it where it is not. Empty without a shortcut; shares of a change of nothing are
    left out.
    """
    if not change.mask.any():
        return {}
    places, total = change.mask > 0, change.squared.sum()
    covered = {"mask_share": float(change.mask.mean()), "places_share": float(places.mean())}
    if not total:
        return covered
    return covered | {
        "change_share_in_mask": float(change.inside.sum() / total),
        "change_share_in_places": float(change.squared[places].sum() / total),
    }


def outline(mask: np.ndarray) -> np.ndarray:
    """Where a mean mask [h, w] is at least half of its maximum; nowhere if it is 0 everywhere.

    A task may turn the shortcut with its views, so no pixel need belong to it in most of them.
    """
    return (mask > 0) & (mask >= mask.max() / 2)


def most_changed(losses: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` largest of `losses` [B] (or all B), largest first."""
    return np.argsort(-losses, kind="stable")[:count]


def least_changed(losses: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` smallest of `losses` [B] (or all B), smallest first."""
    return np.argsort(losses, kind="stable")[:count]
