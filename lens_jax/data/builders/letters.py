"""The letters of the glyphs, drawn in fonts that ship with matplotlib."""

import functools
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "AEFGJKPRTY"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmss10",
    "cmtt10",
)

# Letters are drawn once, larger than any image needs, and then scaled down.
_EM_PIXELS = 192


# The same letter is asked for its shape first and drawn later.
@functools.lru_cache(maxsize=64)
def draw(label: int, font: int, tilt: float) -> np.ndarray:
    """A letter tilted and cropped to its ink, uint8 [height, width], 192 pixels an em.

    Args:
      label: index into `LETTERS`.
      font: index into `FONTS`.
      tilt: rotation in degrees, counter-clockwise.

    """
    upright = _upright(label, font)
    tilted = upright.rotate(tilt, Image.Resampling.BILINEAR, expand=True)
    ink = tilted.getbbox()
    return np.asarray(tilted.crop(ink))


def place(letter: np.ndarray, x: float, y: float, scale: float, size: int) -> np.ndarray:
    """The fraction of each pixel of an image that a letter covers, float [size, size] in [0, 1].

    Args:
      letter: as `draw` returns it.
      x: its center from the left, as a fraction of the image's side.
      y: its center from the top, likewise.
      scale: its longer side as a fraction of the image's; all of it has to lie in the image.
      size: side of the image in pixels.

    """
    height, width = letter.shape
    # A canvas as large, relative to the letter, as the image has to be.
    longer = max(height, width)
    side = round(longer / scale)
    canvas = np.zeros((side, side), np.uint8)

    # The letter, around its center.
    left = round(x * side - width / 2)
    top = round(y * side - height / 2)
    right = left + width
    bottom = top + height
    canvas[top:bottom, left:right] = letter

    # Averaged over the image's pixels.
    image = Image.fromarray(canvas)
    scaled = image.resize((size, size), Image.Resampling.BOX)
    return np.asarray(scaled) / 255.0


@functools.cache
def _upright(label: int, font: int) -> Image.Image:
    # On a sheet twice as large as the letter, which leaves room on all sides.
    side = 2 * _EM_PIXELS
    start = _EM_PIXELS // 2
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)
    pen.text((start, start), LETTERS[label], fill=255, font=_font(font))
    ink = image.getbbox()
    return image.crop(ink)


@functools.cache
def _font(font: int) -> ImageFont.FreeTypeFont:
    # Imported here as only the making of images needs it, and it is slow to import.
    import matplotlib

    folder = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    path = folder / f"{FONTS[font]}.ttf"
    return ImageFont.truetype(str(path), _EM_PIXELS)
