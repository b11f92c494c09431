"""Random augmentation of images: parameters are drawn first and then applied.

What was drawn is a value of its own, so that a method can learn from it and a test can repeat it.
The order is that of SimCLR, BYOL and MoCo v2: crop and resize, flip, color jitter, gray, blur and
solarize.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.errors import UserError, check_choice, check_range
from lens_jax.ops import color
from lens_jax.ops.blur import gaussian_blur
from lens_jax.ops.crop import Boxes, crop_resize, random_boxes, resize
from lens_jax.ops.draws import Draw, Parameters, happens, uniform

# Least and largest ratio of a crop's width to its height.
ASPECT = (3 / 4, 4 / 3)


class Augmented(NamedTuple):
    """Images [N, s, s, 3] and, as rows [N, 18], the parameters that made them."""

    images: jax.Array
    parameters: jax.Array


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The settings of one view. As they stand, they change nothing.

    Settings are static: an operation with probability 0 is not part of the compiled program.

    Attributes:
      area: least and largest fraction of the image's area that a crop covers; (1, 1): no crop.
      flip: probability of mirroring left to right.
      jitter: probability of changing the colors.
      jitter_kind: "torchvision" for its `ColorJitter`, or "slim" for `color.slim_jitter`.
      brightness: strength s; factors are uniform in [max(0, 1 - s), 1 + s]. Of slim's jitter the
        largest shift.
      contrast: strength s, as of brightness.
      saturation: strength s, as of brightness.
      hue: the largest shift, in turns.
      gray: probability of taking the colors away.
      gray_kind: "luma", or "mean" for the mean of the three colors, as revisiting-self-supervised
        has it.
      blur: probability of a Gaussian blur.
      sigma: least and largest standard deviation of the blur, in pixels.
      solarize: probability of inverting the pixels that are brighter than the middle.

    Raises:
      UserError: a setting is out of its range.

    """

    area: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    jitter: float = 0.0
    jitter_kind: str = "torchvision"
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    gray: float = 0.0
    gray_kind: str = "luma"
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "gray", "blur", "solarize"):
            check_range(f"augment.{name}", getattr(self, name), 0, 1)
        for name in ("brightness", "contrast", "saturation"):
            check_range(f"augment.{name}", getattr(self, name), 0)
        check_range("augment.hue", self.hue, 0, 0.5)
        check_choice("augment.jitter_kind", self.jitter_kind, ("torchvision", "slim"))
        check_choice("augment.gray_kind", self.gray_kind, ("luma", "mean"))
        _check_pair("augment.area", self.area, "fractions of the image above 0 and up to 1", 1)
        _check_pair("augment.sigma", self.sigma, "standard deviations in pixels above 0")

    @property
    def crops(self) -> bool:
        """Whether images are cropped at all."""
        return self.area[0] < 1

    def draw(
        self,
        key: jax.Array,
        count: int,
        height: int,
        width: int,
    ) -> Parameters:
        """Draws the parameters of `count` images of `height` x `width` px, each on its own."""
        # Where the pixels come from.
        crop = self._draw_crop(key, count, height, width)
        flip = happens(key, Draw.FLIP, count, self.flip)

        # Their colors.
        jitter = happens(key, Draw.JITTER, count, self.jitter)
        colors = self._draw_colors(key, jitter)
        order, brightness, contrast, saturation, hue = colors
        gray = happens(key, Draw.GRAY, count, self.gray)

        # What is done to the result.
        blur = happens(key, Draw.BLUR, count, self.blur)
        sigma = uniform(key, Draw.SIGMA, count, self.sigma)
        sigma = jnp.where(blur, sigma, 0)
        solarize = happens(key, Draw.SOLARIZE, count, self.solarize)
        return Parameters(
            crop=crop,
            flip=flip,
            jitter=jitter,
            order=order,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            gray=gray,
            blur=blur,
            sigma=sigma,
            solarize=solarize,
        )

    def _draw_crop(
        self,
        key: jax.Array,
        count: int,
        height: int,
        width: int,
    ) -> Boxes:
        if self.crops:
            crop_key = jax.random.fold_in(key, Draw.CROP)
            return random_boxes(crop_key, (count,), height, width, self.area, ASPECT)
        # The box of an image that is not cropped is all of it.
        corner = jnp.zeros(count)
        heights = jnp.full(count, float(height))
        widths = jnp.full(count, float(width))
        return Boxes(corner, corner, heights, widths)

    def _draw_colors(self, key: jax.Array, jitter: jax.Array) -> tuple[jax.Array, ...]:
        """Order, brightness, contrast, saturation and hue, neutral where `jitter` [N] is False."""
        count = len(jitter)
        # The ranges, the same for all images.
        contrasts = _factors(self.contrast)
        saturations = _factors(self.saturation)
        hues = _shifts(self.hue)
        contrast = uniform(key, Draw.CONTRAST, count, contrasts)
        saturation = uniform(key, Draw.SATURATION, count, saturations)
        hue = uniform(key, Draw.HUE, count, hues)

        # Slim's jitter has one order and shifts brightness, torchvision's has all and scales it.
        in_order = jnp.arange(4)
        in_order = jnp.tile(in_order, (count, 1))
        if self.jitter_kind == "slim":
            order = jnp.array(color.SLIM_ORDER)
            brightnesses = _shifts(self.brightness)
            neutral = 0
        else:
            order_key = jax.random.fold_in(key, Draw.ORDER)
            order = jax.random.permutation(order_key, in_order, axis=1, independent=True)
            brightnesses = _factors(self.brightness)
            neutral = 1
        brightness = uniform(key, Draw.BRIGHTNESS, count, brightnesses)

        # Where the colors stay, the parameters say so.
        order = jnp.where(jitter[:, None], order, in_order)
        brightness = jnp.where(jitter, brightness, neutral)
        contrast = jnp.where(jitter, contrast, 1)
        saturation = jnp.where(jitter, saturation, 1)
        hue = jnp.where(jitter, hue, 0)
        return order, brightness, contrast, saturation, hue

    def apply(
        self,
        images: jax.Array,
        parameters: Parameters,
        size: int = 0,
    ) -> jax.Array:
        """Changes images as `parameters` say.

        Differentiable in the images almost everywhere.

        Args:
          images: [N, h, w, 3] in [-1, 1].
          parameters: of the N images, drawn with these settings.
          size: side of the result; 0 keeps the images' own.

        Returns:
          Images [N, size, size, 3] in [-1, 1].

        Raises:
          UserError: the images are to be cropped, are not square, and `size` is 0.

        """
        # The settings decide what the program holds, the parameters which images it changes.
        images = self._crop(images, parameters.crop, size)
        if self.flip:
            mirrored = images[:, :, ::-1]
            images = _where(parameters.flip, mirrored, images)
        if self.jitter:
            jittered = self._jitter(images, parameters)
            images = _where(parameters.jitter, jittered, images)
        if self.gray:
            gray = self._to_gray(images)
            images = _where(parameters.gray, gray, images)
        if self.blur:
            blurred = gaussian_blur(images, parameters.sigma)
            images = _where(parameters.blur, blurred, images)
        if self.solarize:
            solarized = color.solarize(images)
            images = _where(parameters.solarize, solarized, images)
        return images

    def _crop(self, images: jax.Array, boxes: Boxes, size: int) -> jax.Array:
        height, width = images.shape[1:3]
        if not self.crops:
            if size == 0 or height == width == size:
                return images
            return resize(images, size)
        if size == 0 and height != width:
            raise UserError(
                f"crops of images of {height}x{width} px, which are not square, need a size: "
                "give the side of the crops in pixels"
            )
        crop_all = jax.vmap(crop_resize, (0, 0, None))
        return crop_all(images, boxes, size or height)

    def _jitter(self, images: jax.Array, parameters: Parameters) -> jax.Array:
        numbers = (
            parameters.brightness,
            parameters.contrast,
            parameters.saturation,
            parameters.hue,
        )
        # The jitters are defined on colors in [0, 1].
        rgb = images / 2 + 0.5
        if self.jitter_kind == "slim":
            rgb = color.slim_jitter(rgb, *numbers)
        else:
            rgb = color.torchvision_jitter(rgb, parameters.order, *numbers)
        return 2 * rgb - 1

    def _to_gray(self, images: jax.Array) -> jax.Array:
        if self.gray_kind == "mean":
            return color.mean_of_colors(images)
        return color.luma(images)


def make_augmentations(settings: Mapping[str, Any]) -> tuple[Augmentation, ...]:
    """The augmentation of the first view and that of later ones, from the config's section.

    `settings["later"]` holds what is different in later views. Raises `UserError` for a setting
    that cannot be.
    """
    first = dict(settings)
    changed = first.pop("later")
    for name in changed:
        check_choice("setting in augment.later", name, first)
    later = first | dict(changed)
    return Augmentation(**first), Augmentation(**later)


def _where(mask: jax.Array, changed: jax.Array, images: jax.Array) -> jax.Array:
    """The changed images where `mask` [N] is True, the others as they are."""
    mask = color.per_image(mask)
    return jnp.where(mask, changed, images)


def _factors(strength: float) -> tuple[float, float]:
    least = max(0.0, 1 - strength)
    return least, 1 + strength


def _shifts(largest: float) -> tuple[float, float]:
    return -largest, largest


def _check_pair(
    name: str,
    pair: tuple[float, float],
    what: str,
    most: float = math.inf,
) -> None:
    """Raises `UserError` unless `pair` holds two numbers in (0, most], the smaller one first."""
    is_legal = len(pair) == 2 and 0 < pair[0] <= pair[1] <= most
    if not is_legal:
        raise UserError(f"{name} is {pair}: give two {what}, the smaller one first")
