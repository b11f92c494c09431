"""What a lens removes, sorted into kinds: changes that are alike in size, color and spectrum.

A change is a connected spot of one image that is changed more than nearly all pixels are. Spots of
which many are alike make a kind, wherever they lie; the others are of no kind.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from sklearn.cluster import HDBSCAN
from sklearn.preprocessing import StandardScaler

# Spots are the pixels of the largest changes: this fraction of those of all images.
STRONGEST = 0.01
SPOTS_AN_IMAGE = 3
MOST_KINDS = 6
# A kind has at least so many spots, and at least this fraction of the images.
LEAST_SPOTS = 8
_LEAST_FRACTION = 0.01
_LEAST_PIXELS = 2
# The side of what is cut out around a spot, as a fraction of the image's.
_CROP = 0.25
# Places count less than looks: what moves is still of one kind.
_PLACE_WEIGHT = 0.25
_MARGIN = 1  # pixels around a spot that belong to it


class Spots(NamedTuple):
    """Spots of change, S of them.

    Attributes:
      images: of which image each is, int [S].
      masks: its pixels, bool [S, h, w].
      crops: the signed change around its center, float32 [S, c, c, 3].
      features: its place, size, color and spectrum, [S, 7].

    """

    images: np.ndarray
    masks: np.ndarray
    crops: np.ndarray
    features: np.ndarray


def find_spots(change: np.ndarray) -> Spots:
    """The strongest spots of a signed change of images [M, h, w, 3]."""
    squared = np.mean(np.square(change), axis=-1)
    smooth = ndimage.uniform_filter(squared, size=(1, 3, 3))
    threshold = max(np.quantile(smooth, 1 - STRONGEST), 1e-12)

    images = []
    masks = []
    for image, values in enumerate(smooth):
        regions, count = ndimage.label(values > threshold)
        if not count:
            continue
        numbers = np.arange(1, count + 1)
        strengths = ndimage.sum(values, regions, numbers)
        for number in numbers[np.argsort(-strengths)][:SPOTS_AN_IMAGE]:
            mask = regions == number
            if mask.sum() >= _LEAST_PIXELS:
                images.append(image)
                masks.append(mask)

    side = change.shape[1]
    width = max(4, 2 * round(_CROP * side / 2))
    crops = []
    features = []
    for image, mask in zip(images, masks, strict=True):
        crop = crop_around(change[image], mask, width)
        crops.append(crop)
        features.append(_describe(change[image], mask, crop))
    return Spots(
        np.array(images, int),
        np.array(masks, bool).reshape(-1, side, side),
        np.array(crops, np.float32).reshape(-1, width, width, 3),
        np.array(features, np.float32).reshape(-1, 7),
    )


def crop_around(image: np.ndarray, mask: np.ndarray, width: int) -> np.ndarray:
    """The square of an image [h, w, 3] around the center of a mask; 0 outside of the image."""
    center = np.round(ndimage.center_of_mass(mask)).astype(int)
    padded = np.pad(image, ((width, width), (width, width), (0, 0)))
    top, left = center + width - width // 2
    return padded[top : top + width, left : left + width]


def _describe(change: np.ndarray, mask: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Place (y, x), size, color (3) and spectrum of a spot."""
    side = len(mask)
    center = np.array(ndimage.center_of_mass(mask)) / side
    size = np.log2(mask.sum() / side**2)
    color = change[mask].mean(axis=0)
    return np.array([*center, size, *color, _mean_frequency(crop.mean(axis=-1))])


def _mean_frequency(values: np.ndarray) -> float:
    """The mean frequency of values [c, c], weighted by power, in cycles a pixel."""
    power = np.abs(np.fft.fft2(values)) ** 2
    rows = np.fft.fftfreq(len(values))[:, None]
    columns = np.fft.fftfreq(len(values))[None]
    frequencies = np.hypot(rows, columns)
    return float((power * frequencies).sum() / max(power.sum(), 1e-20))


def sort_into_kinds(spots: Spots, images: int) -> list[np.ndarray]:
    """Indices of the spots of each kind, the kind with most images first.

    Dense groups of the standardized features are kinds (HDBSCAN: Campello et al., 2013), so that
    their number need not be known and most spots may be of none.
    """
    least = max(LEAST_SPOTS, round(_LEAST_FRACTION * images))
    if len(spots.images) < 2 * least:
        return []
    features = StandardScaler().fit_transform(spots.features)
    features[:, :2] *= _PLACE_WEIGHT
    groups = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(features)
    kinds = [np.nonzero(groups == group)[0] for group in range(groups.max() + 1)]
    kinds.sort(key=lambda members: -len(np.unique(spots.images[members])))
    return kinds[:MOST_KINDS]


def likeness(crops: np.ndarray) -> float:
    """How alike changes [S, c, c, 3] are: the mean correlation of each with the mean of the others.

    1 for a mark that is the same everywhere, near 0 for parts of objects that have nothing in
    common.
    """
    rows = crops.reshape(len(crops), -1).astype(np.float64)
    others = (rows.sum(axis=0) - rows) / max(len(rows) - 1, 1)
    products = (rows * others).sum(axis=1)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return float(np.mean(products / np.maximum(lengths, 1e-20)))


def union_masks(spots: Spots, members: np.ndarray, images: int) -> np.ndarray:
    """Which pixels of each image belong to a kind, bool [images, h, w]."""
    masks = np.zeros((images, *spots.masks.shape[1:]), bool)
    np.logical_or.at(masks, spots.images[members], spots.masks[members])
    widened = ndimage.maximum_filter(masks, size=(1, 1 + 2 * _MARGIN, 1 + 2 * _MARGIN))
    return widened
