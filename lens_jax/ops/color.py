"""Color operations on images [N, h, w, 3], pure functions of one number an image, [N].

Those that clip expect colors in [0, 1]; those that are linear say so and take any range.
"""

import jax
import jax.numpy as jnp

# The operations of a color jitter, by their numbers.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
SLIM_ORDER = (BRIGHTNESS, SATURATION, HUE, CONTRAST)

# Colors whose channels differ by less count as gray: the gradient of a hue overflows near gray.
_LEAST_CHROMA = 1e-12


def to_unit(pixels: jax.Array) -> jax.Array:
    """uint8 pixels -> float32 in [-1, 1]."""
    return pixels.astype(jnp.float32) / 127.5 - 1


def per_image(numbers: jax.Array) -> jax.Array:
    """Numbers [N], one an image -> [N, 1, 1, 1], to be combined with images."""
    return numbers[:, None, None, None]


def luma(images: jax.Array) -> jax.Array:
    """The luma of ITU-R BT.601, 0.299 r + 0.587 g + 0.114 b: [..., 3] -> [..., 1]. Linear."""
    red, green, blue = _channels(images)
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    return gray[..., None]


def mean_of_colors(images: jax.Array) -> jax.Array:
    """The mean of the three colors: [..., 3] -> [..., 1]. Linear."""
    return jnp.mean(images, axis=-1, keepdims=True)


def blend(rgb: jax.Array, base: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends to base + factor (rgb - base), clipped to [0, 1], as Pillow's `ImageEnhance` does.

    A factor of 0 gives the base, 1 the image, and a larger one leads further away from the base.

    Args:
      rgb: images [N, h, w, 3] in [0, 1].
      base: what to blend with, of a shape that broadcasts to the images'.
      factor: [N].

    """
    factor = per_image(factor)
    blended = factor * rgb + (1 - factor) * base
    return jnp.clip(blended, 0, 1)


def shift_hue(rgb: jax.Array, turns: jax.Array) -> jax.Array:
    """Colors in [0, 1], [N, h, w, 3], with hues moved by `turns` [N] around the circle of hues."""
    hue, saturation, value = rgb_to_hsv(rgb)
    hue = hue + turns[:, None, None]
    return hsv_to_rgb(hue % 1, saturation, value)


def solarize(images: jax.Array) -> jax.Array:
    """Inverts what is brighter than the middle, in images in [-1, 1].

    The middle lies between 127 and 128 of 255, at 0, and an inverted pixel is its negative.
    """
    return -jnp.abs(images)


def torchvision_jitter(
    rgb: jax.Array,
    order: jax.Array,
    brightness: jax.Array,
    contrast: jax.Array,
    saturation: jax.Array,
    hue: jax.Array,
) -> jax.Array:
    """The four operations of torchvision's `ColorJitter`, in each image's own order.

    Brightness blends with black, contrast with the mean luma of the image, saturation with the luma
    of each pixel. After each operation colors are clipped to [0, 1].

    Of the four only the hue is no blend. So every order is up to three blends, the hue, and up to
    three blends again, and the whole batch goes through the same seven steps. A branch for each
    operation would cost more: on a batch all branches are computed, at each of the four slots.

    Args:
      rgb: images [N, h, w, 3] in [0, 1].
      order: int [N, 4], permutations of `BRIGHTNESS`, `CONTRAST`, `SATURATION` and `HUE`.
      brightness: [N], a factor.
      contrast: [N], a factor.
      saturation: [N], a factor.
      hue: [N], added to the hue, in turns.

    """
    # Operations and their factors slot by slot, [4, N]. The hue has no factor.
    operations = order.T
    no_factor = jnp.ones_like(hue)
    by_operation = jnp.stack([brightness, contrast, saturation, no_factor])
    factors = jnp.take_along_axis(by_operation, operations, axis=0)

    # A factor of 1 leaves an image as it is in the slots that are not its own.
    slots = jnp.arange(4)[:, None]
    hue_slot = jnp.argmax(operations == HUE, axis=0)
    before_hue = jnp.where(slots < hue_slot, factors, 1)
    after_hue = jnp.where(slots > hue_slot, factors, 1)

    # Loops, and not three copies: XLA would fuse the copies and compute each pixel many times.
    # The hue comes after three blends at most, and before three at most.
    first_slots = operations[:3], before_hue[:3]
    last_slots = operations[1:], after_hue[1:]
    rgb, _ = jax.lax.scan(_blend_slot, rgb, first_slots)
    rgb = shift_hue(rgb, hue)
    rgb, _ = jax.lax.scan(_blend_slot, rgb, last_slots)
    return rgb


def _blend_slot(
    rgb: jax.Array,
    slot: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, None]:
    """Blends each image with what its operation in this slot needs, as a step of a scan."""
    operation, factor = slot
    operation = per_image(operation)
    gray = luma(rgb)
    mean = jnp.mean(gray, axis=(1, 2, 3), keepdims=True)
    base = jnp.where(operation == CONTRAST, mean, 0)
    base = jnp.where(operation == SATURATION, gray, base)
    return blend(rgb, base, factor), None


def slim_jitter(
    rgb: jax.Array,
    brightness: jax.Array,
    contrast: jax.Array,
    saturation: jax.Array,
    hue: jax.Array,
) -> jax.Array:
    """Brightness, saturation, hue and contrast as in TF-slim's `inception_preprocessing`.

    This is the preprocessing that revisiting-self-supervised uses for Rotation and Exemplar, with
    shifts of brightness up to 32/255, factors from 0.5 to 1.5 and shifts of hue up to 0.2. Of
    TF-slim's four orders it is the first, `SLIM_ORDER`.

    Args:
      rgb: images [N, h, w, 3] in [0, 1].
      brightness: [N], added to all colors.
      contrast: [N], a factor of the distance from each channel's mean over the image.
      saturation: [N], a factor of the saturation in HSV.
      hue: [N], added to the hue, in turns.

    """
    brighter = rgb + per_image(brightness)
    rgb = jnp.clip(brighter, 0, 1)

    # Saturation and hue are coordinates of HSV, so one way there and back changes both.
    h, s, v = rgb_to_hsv(rgb)
    h = h + hue[:, None, None]
    s = s * saturation[:, None, None]
    s = jnp.clip(s, 0, 1)
    rgb = hsv_to_rgb(h % 1, s, v)

    # Contrast is the distance from the mean of each channel.
    contrast = per_image(contrast)
    mean = jnp.mean(rgb, axis=(1, 2), keepdims=True)
    stretched = (rgb - mean) * contrast + mean
    return jnp.clip(stretched, 0, 1)


def rgb_to_hsv(rgb: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """RGB in [0, 1], [..., 3] -> hue (turns, [0, 1)), saturation and value, each [...]."""
    red, green, blue = _channels(rgb)
    value = jnp.maximum(red, green)
    value = jnp.maximum(value, blue)
    least = jnp.minimum(red, green)
    least = jnp.minimum(least, blue)
    chroma = value - least
    is_gray = chroma < _LEAST_CHROMA

    # Hue in sixths of a turn, from the strongest color. Grays divide by 1, so that no gradient
    # becomes NaN where the quotient is not selected.
    divisor = jnp.where(is_gray, 1, chroma)
    from_gray = jnp.zeros_like(value)
    from_red = (green - blue) / divisor % 6
    from_green = (blue - red) / divisor + 2
    from_blue = (red - green) / divisor + 4
    # Compared with one another and not with `value`, which a fused program may compute twice and
    # round differently.
    is_red = (red >= green) & (red >= blue)
    sixths = jnp.select(
        [is_gray, is_red, green >= blue],
        [from_gray, from_red, from_green],
        default=from_blue,
    )

    # Black divides by 1 likewise.
    is_black = value < _LEAST_CHROMA
    divisor = jnp.where(is_black, 1, value)
    saturation = chroma / divisor
    return sixths / 6, saturation, value


def hsv_to_rgb(
    hue: jax.Array,
    saturation: jax.Array,
    value: jax.Array,
) -> jax.Array:
    """Hue in turns, saturation and value in [0, 1], each [...] -> RGB in [0, 1], [..., 3]."""
    hue = hue[..., None]
    saturation = saturation[..., None]
    value = value[..., None]

    offsets = jnp.array([5.0, 3.0, 1.0])
    sixths = (6 * hue + offsets) % 6
    # How far each color falls below the strongest: 0 for two sixths, 1 for two, linear between.
    fall = jnp.minimum(sixths, 4 - sixths)
    fall = jnp.clip(fall, 0, 1)
    return value * (1 - saturation * fall)


def _channels(images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    red = images[..., 0]
    green = images[..., 1]
    blue = images[..., 2]
    return red, green, blue
