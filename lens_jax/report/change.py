"""Statistics of what a lens changed; images are float arrays in [-1, 1]."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class ChangeStatistics(NamedTuple):
    """What a lens changed in B images, each of which was shown in several views.

    The last four are means over all views of all images.

    Attributes:
      inputs: the first view of each image, [B, h, w, 3].
      lensed: the same through the lens, [B, h, w, 3], not clipped.
      image_change: mean squared change of each image over its views, [B].
      pixel_change: mean squared change of each pixel, [h, w].
      signed_change: mean change of each pixel, [h, w].
      mask: fraction of the views in which a pixel belongs to the shortcut, [h, w].
      change_in_mask: `pixel_change`, with each view counted only inside its own mask, [h, w].

    """

    inputs: np.ndarray
    lensed: np.ndarray
    image_change: np.ndarray
    pixel_change: np.ndarray
    signed_change: np.ndarray
    mask: np.ndarray
    change_in_mask: np.ndarray


# The fields with one entry an image.
PER_IMAGE = ("inputs", "lensed", "image_change")


def compute_statistics(
    inputs: np.ndarray, lensed: np.ndarray, mask: np.ndarray, views_per_image: int
) -> ChangeStatistics:
    """The statistics of images in all their views, before and after a lens.

    Args:
      inputs: float [N, h, w, 3], all views of an image next to each other.
      lensed: the same through the lens.
      mask: bool [N, h, w], the pixels that belong to the shortcut.
      views_per_image: number of views of an image; N is a multiple of it.

    """
    difference = lensed - inputs
    squared = np.mean(difference**2, axis=-1)

    # Image by image: the views of one are a row.
    images = len(inputs) // views_per_image
    squared_by_image = squared.reshape(images, -1)
    image_change = squared_by_image.mean(axis=1)

    # Pixel by pixel, over all views.
    signed_change = difference.mean(axis=(0, -1))
    change_in_mask = (squared * mask).mean(axis=0)
    return ChangeStatistics(
        inputs=inputs[::views_per_image],
        lensed=lensed[::views_per_image],
        image_change=image_change,
        pixel_change=squared.mean(axis=0),
        signed_change=signed_change,
        mask=mask.mean(axis=0),
        change_in_mask=change_in_mask,
    )


def merge(parts: Iterable[ChangeStatistics]) -> ChangeStatistics:
    """The statistics of the images of all `parts` together; all with as many views an image."""
    parts = list(parts)
    image_counts = [len(part.image_change) for part in parts]
    merged = {}
    for field in ChangeStatistics._fields:
        values = [getattr(part, field) for part in parts]
        if field in PER_IMAGE:
            merged[field] = np.concatenate(values)
        else:
            # Means over a part's images: a part weighs as much as it has images.
            merged[field] = np.average(values, axis=0, weights=image_counts)
    return ChangeStatistics(**merged)


def shortcut_fractions(statistics: ChangeStatistics) -> dict[str, float]:
    """Which fraction of the squared change, and of the pixels, lies in the shortcut, in [0, 1].

    "mask" is a view's own shortcut, "places" is wherever it lies in any view: a lens may also hide
    it by drawing it where it is not. Empty without a shortcut; where nothing was changed, only the
    fractions of the pixels are there.
    """
    mask = statistics.mask
    if not mask.any():
        return {}
    places = mask > 0
    fractions = {
        "mask_fraction": float(mask.mean()),
        "places_fraction": float(places.mean()),
    }

    total = statistics.pixel_change.sum()
    if total:
        in_mask = statistics.change_in_mask.sum()
        in_places = statistics.pixel_change[places].sum()
        fractions["change_fraction_in_mask"] = float(in_mask / total)
        fractions["change_fraction_in_places"] = float(in_places / total)
    return fractions


def outline(mask: np.ndarray) -> np.ndarray:
    """Where a mean mask [h, w] is at least half of its maximum; nowhere if it is 0 everywhere.

    A task may turn the shortcut with its views, so no pixel need belong to it in most of them.
    """
    return (mask > 0) & (mask >= mask.max() / 2)


def most_changed(image_change: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` largest of `image_change` [B] (or all B), largest first."""
    return np.argsort(-image_change, kind="stable")[:count]


def least_changed(image_change: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` smallest of `image_change` [B] (or all B), smallest first."""
    return np.argsort(image_change, kind="stable")[:count]
