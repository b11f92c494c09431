"""The transparent watermark of ImageNet-W: six white Chinese characters across an image.

Li et al., 2023, A Whac-A-Mole dilemma (arXiv 2212.04825). Their code (imagenet_w of
github.com/facebookresearch/Whac-A-Mole) writes 捷径捷径捷径 ("shortcut", thrice) in the font Source
Han Serif SC ExtraLight, as large as 1 / 6.22 of the image's side, from 1 % of its width and 40 % of
its height on, with an opacity of one half.
"""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lens_jax.errors import UserError

TEXT = "捷径捷径捷径"
OPACITY = 0.5
# Of the image's side: where the text begins, and how large it is.
LEFT, TOP = 0.01, 0.4
SIZE = 1 / 6.22

# The font's own lines begin higher than its characters, as a fraction of their size.
_ASCENT = 0.27
_THICKNESS = 0.03
_ENLARGED = 8
# Both characters as lines through points of a square, x to the right and y down.
_STROKES = {
    "捷": (
        ((0.05, 0.28), (0.36, 0.28)),
        ((0.21, 0.06), (0.21, 0.90), (0.12, 0.84)),
        ((0.05, 0.62), (0.36, 0.50)),
        ((0.42, 0.16), (0.95, 0.16)),
        ((0.48, 0.28), (0.88, 0.28), (0.88, 0.54)),
        ((0.42, 0.41), (0.97, 0.41)),
        ((0.48, 0.54), (0.88, 0.54)),
        ((0.68, 0.05), (0.68, 0.88)),
        ((0.68, 0.70), (0.90, 0.70)),
        ((0.52, 0.62), (0.48, 0.80), (0.40, 0.94)),
        ((0.50, 0.76), (0.62, 0.88), (0.97, 0.93)),
    ),
    "径": (
        ((0.28, 0.06), (0.08, 0.28)),
        ((0.30, 0.30), (0.05, 0.56)),
        ((0.20, 0.46), (0.20, 0.95)),
        ((0.42, 0.12), (0.82, 0.12), (0.66, 0.34), (0.38, 0.54)),
        ((0.52, 0.24), (0.74, 0.42), (0.96, 0.52)),
        ((0.46, 0.64), (0.90, 0.64)),
        ((0.68, 0.64), (0.68, 0.91)),
        ((0.38, 0.91), (0.97, 0.91)),
    ),
}


def draw_mark(side: int, font: str = "") -> np.ndarray:
    """How much of each pixel the characters cover, float [side, side] in [0, 1].

    Args:
      side: of the images, in pixels.
      font: the file of a font that has the characters. By default they are drawn stroke by stroke,
        as thin as in the authors' font and at their places.

    Raises:
      UserError: the file is no font.

    """
    return _draw_strokes(side) if not font else _write(side, font)


def add_mark(image: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """Lays a mark [side, side] over an image, uint8 [side, side, 3], in white."""
    opacity = OPACITY * mark[..., None]
    marked = (1 - opacity) * image + opacity * 255
    return np.rint(marked).astype(np.uint8)


def _draw_strokes(side: int) -> np.ndarray:
    """The characters, drawn several times as large and averaged."""
    large = side * _ENLARGED
    size = int(side * SIZE) * _ENLARGED
    top = TOP * large + _ASCENT * size
    left = LEFT * large
    thickness = max(1, round(_THICKNESS * size))

    canvas = np.zeros((large, large), np.uint8)
    for position, character in enumerate(TEXT):
        corner = np.array([left + position * size, top])
        for stroke in _STROKES[character]:
            points = corner + size * np.array(stroke)
            pixels = np.rint(points).astype(np.int32)
            cv2.polylines(canvas, [pixels], isClosed=False, color=255, thickness=thickness)

    # The mean of each pixel's square.
    squares = canvas.reshape(side, _ENLARGED, side, _ENLARGED)
    return squares.mean(axis=(1, 3)) / 255


def _write(side: int, font: str) -> np.ndarray:
    try:
        letters = ImageFont.truetype(font, int(side * SIZE))
    except OSError as error:
        raise UserError(
            f"no font in {font!r}: give a file such as SourceHanSerifSC-ExtraLight.otf, or leave "
            "option font out"
        ) from error
    canvas = Image.new("L", (side, side))
    place = (LEFT * side, TOP * side)
    ImageDraw.Draw(canvas).text(place, TEXT, fill=255, font=letters)
    return np.asarray(canvas) / 255
