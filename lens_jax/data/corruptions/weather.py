"""Corruptions by weather. Images are light, float [side, side, 3] in [0, 1]."""

import cv2
import numpy as np

from lens_jax.data.corruptions.blur import blur_along, zoom

# Snow falls down, in degrees from the right, clockwise.
SNOW_ANGLES = (-135.0, -45.0)
# The side of a window with ice in pixels, the number of its needles, their lengths as fractions of
# the side, and their color.
WINDOW = 224
NEEDLES = 400
NEEDLE_LENGTHS = (0.05, 0.3)
ICE_COLOR = np.array([0.85, 1.02, 1.12])

_LUMA = np.array([0.299, 0.587, 0.114])


def snow(
    image: np.ndarray,
    rng: np.random.Generator,
    mean: float,
    deviation: float,
    size: float,
    threshold: float,
    radius: int,
    smear: float,
    kept: float,
) -> np.ndarray:
    """Lets flakes fall on an image that is made lighter.

    Args:
      image: the image.
      rng: draws the flakes and their direction.
      mean: of the normal noise that flakes are made of.
      deviation: its standard deviation.
      size: how much the noise is enlarged.
      threshold: what is below it is no flake.
      radius: of the flakes' motion, see `blur.blur_along`.
      smear: the standard deviation of their motion.
      kept: the fraction of the image that is not made lighter.

    """
    noise = rng.normal(mean, deviation, image.shape[:2])
    flakes = zoom(noise, size)
    flakes = np.where(flakes < threshold, 0, flakes.clip(0, 1))
    angle = rng.uniform(*SNOW_ANGLES)
    falling = blur_along(flakes, radius, smear, angle)[..., None]

    luma = (image @ _LUMA)[..., None]
    lighter = np.maximum(image, 1.5 * luma + 0.5)
    covered = kept * image + (1 - kept) * lighter
    # Each flake falls twice: the second layer is the first one turned by 180 degrees.
    turned = falling[::-1, ::-1]
    return covered + falling + turned


def frost(image: np.ndarray, rng: np.random.Generator, kept: float, added: float) -> np.ndarray:
    """Darkens an image and adds ice: kept * image + added * `draw_ice`."""
    return kept * image + added * draw_ice(len(image), rng)


def draw_ice(side: int, rng: np.random.Generator) -> np.ndarray:
    """Ice on a window, [side, side, 3] in [0, 1]: light needles of all directions over a haze.

    The authors take parts of six photographs, which are not ours to pass on. This has about the
    mean colors of those, and their standard deviation within 224 pixels, 0.1. Small images show a
    large window from afar.
    """
    window = max(side, WINDOW)
    needles = np.zeros((window, window), np.uint8)
    # The lightest ones lie above the others.
    lights = np.sort(rng.uniform(20, 110, NEEDLES))
    starts = rng.uniform(0, window, (NEEDLES, 2))
    angles = rng.uniform(0, 2 * np.pi, NEEDLES)
    lengths = window * rng.uniform(*NEEDLE_LENGTHS, NEEDLES)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ends = starts + lengths[:, None] * directions

    lines = np.stack([starts, ends], axis=1)
    pixels = np.rint(lines).astype(int).tolist()
    for light, (start, end) in zip(lights, pixels, strict=True):
        cv2.line(needles, start, end, light, lineType=cv2.LINE_AA)

    haze = 0.33 + 0.3 * plasma(window, 1.5, rng)
    light = haze + needles / 255
    small = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
    colored = small[..., None] * ICE_COLOR
    return colored.clip(0, 1)


def fog(image: np.ndarray, rng: np.random.Generator, density: float, decay: float) -> np.ndarray:
    """Adds a cloud, and makes all darker until the lightest value could be that of before."""
    side = len(image)
    cloud = plasma(side, decay, rng)
    foggy = image + density * cloud[..., None]
    lightest = image.max()
    return foggy * lightest / (lightest + density)


def plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A random landscape by the diamond-square algorithm, [side, side] in [0, 1].

    The middle of each square of a grid gets the mean of its corners and uniform noise, and the
    middle of each edge that of what is around it. Then the grid is halved, and the noise divided by
    decay^2. The landscape is part of one that is periodic, with a power of two as its period.
    """
    period = 1 << (side - 1).bit_length()
    heights = np.zeros((period, period))
    amplitude = 1.0
    step = period
    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        edges = corners + np.roll(corners, -1, axis=0)
        squares = edges + np.roll(edges, -1, axis=1)
        heights[half::step, half::step] = _wobble(squares, amplitude, rng)

        # An edge lies between two corners and two centers.
        centers = heights[half::step, half::step]
        for axis, edge in enumerate(((0, half), (half, 0))):
            vertical, horizontal = edge
            beside = centers + np.roll(centers, 1, axis=axis)
            along = corners + np.roll(corners, -1, axis=1 - axis)
            middles = _wobble(beside + along, amplitude, rng)
            heights[vertical::step, horizontal::step] = middles

        step = half
        amplitude /= decay**2
    heights -= heights.min()
    return (heights / heights.max())[:side, :side]


def _wobble(sums: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Means of four, with noise."""
    return sums / 4 + amplitude * rng.uniform(-1, 1, sums.shape)


def brightness(image: np.ndarray, rng: np.random.Generator, added: float) -> np.ndarray:
    """Adds to the value of each pixel in HSV, at most up to 1; hue and saturation stay."""
    del rng  # nothing is drawn
    value = image.max(axis=-1, keepdims=True)
    raised = np.minimum(value + added, 1)
    # Colors are proportional to their value, and black becomes gray.
    is_black = value == 0
    factor = raised / np.where(is_black, 1, value)
    return np.where(is_black, raised, image * factor)
