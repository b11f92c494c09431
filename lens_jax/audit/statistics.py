"""Numbers that describe an image without what it shows, computed at its full resolution.

Each function maps an upright image, uint8 [h, w, 3], to a fixed number of features, all finite, for
images of any size from one pixel on.
"""

from collections.abc import Callable

import cv2
import numpy as np
import scipy.fft

# Of a larger image, the middle of about this side is measured: what it costs is bounded.
MAX_SIDE = 192
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_BLOCK = 8
# Added before logarithms, in squared gray levels: what rounding alone does.
_ROUNDING = 1 / 12
_LAGS = (1, 2, 4)
_FRAME_LINES = 3
# Of the lowest and highest levels, so many are left out: what is clipped stands out as well.
_END = 8
_MOST_RESIDUAL = 4.0
# Cosines of 8 frequencies, and the pairs of them in each band: by their sum, in half waves.
_COSINES = scipy.fft.dct(np.eye(_BLOCK, dtype=np.float32), axis=0, norm="ortho")
_FREQUENCIES = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)).ravel()
_BANDS = ((2, 4), (4, 6), (6, 9), (9, 15))
_IN_BAND = [np.flatnonzero(np.isin(_FREQUENCIES, range(*band))) for band in _BANDS]


def describe_light(image: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of the luminance, in gray levels, and seven of its quantiles."""
    gray = _luminance(image)
    counts = np.bincount(gray.ravel(), minlength=256)
    below = np.cumsum(counts) / gray.size
    quantiles = np.searchsorted(below, _QUANTILES)
    mean, deviation = cv2.meanStdDev(gray)
    return np.array([mean.item(), deviation.item(), *quantiles])


def describe_sharpness(image: np.ndarray) -> np.ndarray:
    """Logarithms of the mean squared differences between pixels 1, 2 and 4 apart, x and y.

    Their differences say how steeply the spectrum falls, whatever the contrast is. The last number
    is that of the Laplacian.
    """
    gray = _luminance(image)
    energies = []
    for lag in _LAGS:
        across = _difference(gray[:, lag:], gray[:, :-lag])
        down = _difference(gray[lag:], gray[:-lag])
        energies += [_mean_product(across, across), _mean_product(down, down)]
    laplacian = cv2.Laplacian(gray, cv2.CV_32F)
    energies.append(_mean_product(laplacian, laplacian))
    return np.log(np.array(energies) + _ROUNDING)


def describe_noise(image: np.ndarray) -> np.ndarray:
    """What a median over 3 x 3 pixels takes away: its strength, its shape, its correlations.

    That is the logarithm of the mean square, the fractions of differences of 0, 1 and 2 gray
    levels, the correlation with its neighbors below, on the right and beyond, and those between the
    residuals of red and green, and of green and blue.
    """
    smooth = cv2.split(cv2.medianBlur(image, 3))
    red, green, blue = map(_difference, cv2.split(image), smooth)
    strength = np.log(_mean_product(green, green) + _ROUNDING)
    levels = np.bincount(np.abs(green).astype(np.uint8).ravel(), minlength=3)[:3] / green.size
    neighbors = [
        _correlation(green[1:], green[:-1]),
        _correlation(green[:, 1:], green[:, :-1]),
        _correlation(green[:, 2:], green[:, :-2]),
    ]
    channels = [_correlation(red, green), _correlation(green, blue)]
    return np.array([strength, *levels, *neighbors, *channels])


def describe_grid(image: np.ndarray) -> np.ndarray:
    """How much the steps at each of eight columns, and rows, stand out: those of JPEG blocks do.

    These are the logarithms of the mean magnitude of the second difference at each phase over that
    at all phases, 16 numbers.
    """
    gray = _luminance(image)
    phases = []
    for order in ((2, 0), (0, 2)):
        bends = np.abs(cv2.Sobel(gray, cv2.CV_32F, *order, ksize=1))
        lines = bends.mean(axis=0 if order[0] else 1)
        overall = lines.mean()
        for phase in range(_BLOCK):
            chosen = lines[phase::_BLOCK]
            mean = chosen.mean() if chosen.size else overall
            phases.append(np.log((mean + _ROUNDING) / (overall + _ROUNDING)))
    return np.array(phases)


def describe_blocks(image: np.ndarray) -> np.ndarray:
    """How blocks of 8 x 8 pixels on the JPEG grid differ from those half a block beside it.

    JPEG rounds the cosine transform of the former. Of four bands of frequencies, these are the
    differences of the logarithms of the mean magnitude, and of the fraction below one gray level: 8
    numbers, all 0 of an image that has no room for both.
    """
    gray = _luminance(image)
    half = _BLOCK // 2
    if min(gray.shape) < _BLOCK + half:
        return np.zeros(2 * len(_BANDS))
    return _describe_bands(gray) - _describe_bands(gray[half:, half:])


def _describe_bands(gray: np.ndarray) -> np.ndarray:
    """Logarithms of the mean magnitude and of the small fraction of each band of `_BANDS`."""
    rows, columns = (side // _BLOCK for side in gray.shape)
    whole = gray[: rows * _BLOCK, : columns * _BLOCK].astype(np.float32)
    blocks = whole.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)
    magnitudes = np.abs(_COSINES @ blocks @ _COSINES.T).reshape(-1, _BLOCK**2)
    # The means of each frequency, and then of each band.
    means = magnitudes.mean(axis=0)
    small = (magnitudes < 1).mean(axis=0)
    numbers = []
    for band in _IN_BAND:
        numbers += [np.log(means[band].mean() + _ROUNDING), np.log(small[band].mean() + 0.01)]
    return np.array(numbers)


def describe_fringe(image: np.ndarray) -> np.ndarray:
    """How well edges in red and in blue lie on those in green, or a pixel to either side of them.

    These are the correlations of the horizontal and the vertical differences at shifts of -1, 0 and
    1 px along them, less those of green with itself: 12 numbers, all 0 of a gray image.
    """
    correlations = []
    for turned in (image, image.swapaxes(0, 1)):
        planes = cv2.split(turned)
        red, green, blue = [_difference(plane[:, 1:], plane[:, :-1]) for plane in planes]
        alone = _shifted_correlations(green, green)
        correlations.append(_shifted_correlations(red, green) - alone)
        correlations.append(_shifted_correlations(blue, green) - alone)
    return np.concatenate(correlations)


def _shifted_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlations with one of them a pixel to the right, at its place, and to the left."""
    all_but_first = slice(1, None)
    all_but_last = slice(None, -1)
    before = _correlation(one[:, all_but_first], other[:, all_but_last])
    together = _correlation(one, other)
    after = _correlation(one[:, all_but_last], other[:, all_but_first])
    return np.array([before, together, after])


def describe_frame(image: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of the luminance of the three outermost lines of each side."""
    numbers = []
    for turned in (image, image[::-1], image.swapaxes(0, 1), image.swapaxes(0, 1)[::-1]):
        lines = _luminance(turned[:_FRAME_LINES])
        for line in range(_FRAME_LINES):
            mean, deviation = cv2.meanStdDev(lines[min(line, len(lines) - 1)])
            numbers += [mean.item(), deviation.item()]
    return np.array(numbers)


def describe_levels(image: np.ndarray) -> np.ndarray:
    """How much each level of a color is more frequent than its neighbors, about one if by luck.

    The count less the mean of those of the levels beside it, over its standard deviation by luck:
    the levels from 8 to 247 of red, green and blue, 720 numbers.
    """
    numbers = []
    for channel in range(3):
        counts = np.bincount(image[..., channel].ravel(), minlength=256).astype(np.float32)
        inner = counts[_END : 256 - _END]
        beside = (counts[_END - 1 : 255 - _END] + counts[_END + 1 : 257 - _END]) / 2
        residuals = (inner - beside) / np.sqrt(inner + beside + 1)
        numbers.append(np.clip(residuals, -_MOST_RESIDUAL, _MOST_RESIDUAL))
    return np.concatenate(numbers)


STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "light": describe_light,
    "sharpness": describe_sharpness,
    "noise": describe_noise,
    "grid": describe_grid,
    "blocks": describe_blocks,
    "fringe": describe_fringe,
}


def describe(image: np.ndarray) -> dict[str, np.ndarray]:
    """All of them by name; of a large image those of its middle, but for the frame."""
    middle = crop_middle(image)
    found = {name: compute(middle) for name, compute in STATISTICS.items()}
    found["frame"] = describe_frame(image)
    found["levels"] = describe_levels(middle)
    return found


def crop_middle(image: np.ndarray) -> np.ndarray:
    """The middle of an image, at most `MAX_SIDE` a side, from a multiple of the block size on."""
    chosen = []
    for side in image.shape[:2]:
        excess = max(0, side - MAX_SIDE)
        start = excess // 2 // _BLOCK * _BLOCK
        chosen.append(slice(start, start + MAX_SIDE))
    return np.ascontiguousarray(image[tuple(chosen)])


def _luminance(image: np.ndarray) -> np.ndarray:
    """The luminance in gray levels, uint8 [h, w]."""
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One less the other, float32; nothing where there are no pixels."""
    if not one.size:
        return np.zeros(one.shape, np.float32)
    return cv2.subtract(one, other, dtype=cv2.CV_32F)


def _mean_product(one: np.ndarray, other: np.ndarray) -> float:
    """The mean of the product of two arrays [h, w]; 0 where there are no pixels."""
    if not one.size:
        return 0.0
    return float(np.einsum("ij,ij->", one, other)) / one.size


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation about zero, in [-1, 1]; 0 where one of them is 0 everywhere."""
    scale = np.sqrt(_mean_product(one, one) * _mean_product(other, other))
    return _mean_product(one, other) / scale if scale > 0 else 0.0
