import colorsys
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from lens_jax.errors import UserError
from lens_jax.ops import color
from lens_jax.ops.augment import Augmentation
from lens_jax.ops.blur import blur_radius
from lens_jax.ops.crop import Boxes
from lens_jax.ops.draws import Parameters

apply = jax.jit(Augmentation.apply, static_argnums=(0, 3))
draw = jax.jit(Augmentation.draw, static_argnums=(0, 2, 3, 4))
slim_jitter = jax.jit(color.slim_jitter)

CROP = Augmentation(area=(0.1, 1.0))
EVERYTHING = Augmentation(area=(0.2, 1.0), flip=0.5, jitter=0.8, gray=0.2, blur=0.5, solarize=0.2)
STRONG = Augmentation(jitter=1.0, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=1.0)
SLIM = Augmentation(
    jitter=1.0, jitter_kind="slim", brightness=32 / 255, contrast=0.5, saturation=0.5, hue=0.2
)


def random_bytes(count: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def random_images(count: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.asarray(color.to_unit(random_bytes(count, height, width)))


def neutral(
    count: int, height: int = 16, width: int = 16, **changed: jax.Array | Boxes
) -> Parameters:
    """Parameters that change nothing, but for those that are given."""
    no, one, zero = jnp.zeros(count, bool), jnp.ones(count), jnp.zeros(count)
    parameters = Parameters(
        crop=Boxes(zero, zero, height * one, width * one),
        flip=no,
        jitter=no,
        order=jnp.tile(jnp.arange(4), (count, 1)),
        brightness=one,
        contrast=one,
        saturation=one,
        hue=zero,
        gray=no,
        blur=no,
        sigma=zero,
        solarize=no,
    )
    return parameters._replace(**changed)


def assert_levels(found: jax.Array, pixels: np.ndarray, most: float) -> None:
    """Images in [-1, 1] are those of bytes, up to `most` of 255 levels."""
    np.testing.assert_allclose(127.5 * (np.asarray(found) + 1), pixels, rtol=0, atol=most)


def cut_by_pillow(image: np.ndarray, box: tuple[float, ...], size: int) -> np.ndarray:
    """`box` is top, left, height and width."""
    top, left, height, width = box
    corners = left, top, left + width, top + height
    cut = []
    for channel in np.moveaxis(image, -1, 0):
        one = Image.fromarray(channel)
        cut.append(np.asarray(one.resize((size, size), Image.Resampling.BILINEAR, box=corners)))
    return np.stack(cut, axis=-1)


def jittered_by_pillow(pixels: np.ndarray, parameters: Parameters) -> np.ndarray:
    """The four color operations on an image of bytes, in its order."""
    image = Image.fromarray(pixels)
    for operation in np.asarray(parameters.order):
        if operation == color.BRIGHTNESS:
            image = ImageEnhance.Brightness(image).enhance(float(parameters.brightness))
        elif operation == color.CONTRAST:
            image = ImageEnhance.Contrast(image).enhance(float(parameters.contrast))
        elif operation == color.SATURATION:
            image = ImageEnhance.Color(image).enhance(float(parameters.saturation))
        else:
            image = Image.fromarray(with_hue_shifted(np.asarray(image), float(parameters.hue)))
    return np.asarray(image)


def with_hue_shifted(pixels: np.ndarray, turns: float) -> np.ndarray:
    shifted = np.empty_like(pixels)
    for position in np.ndindex(pixels.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixels[position] / 255)
        rgb = colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)
        shifted[position] = np.round(255 * np.array(rgb))
    return shifted


def augmented_by_pillow(pixels: np.ndarray, parameters: Parameters, size: int) -> np.ndarray:
    """All operations on one image of bytes, in the published order."""
    pixels = cut_by_pillow(pixels, [float(edge) for edge in parameters.crop], size)
    if parameters.flip:
        pixels = np.asarray(ImageOps.mirror(Image.fromarray(pixels)))
    if parameters.jitter:
        pixels = jittered_by_pillow(pixels, parameters)
    if parameters.gray:
        gray = np.asarray(ImageOps.grayscale(Image.fromarray(pixels)))
        pixels = gray[..., None].repeat(3, axis=-1)
    if parameters.blur:
        sigmas = float(parameters.sigma), float(parameters.sigma), 0
        reach = blur_radius(size), blur_radius(size), 0
        smooth = ndimage.gaussian_filter(pixels.astype(float), sigmas, mode="mirror", radius=reach)
        pixels = np.round(smooth).astype(np.uint8)
    if parameters.solarize:
        pixels = np.asarray(ImageOps.solarize(Image.fromarray(pixels), threshold=128))
    return pixels


def image_of(parameters: Parameters, i: int) -> Parameters:
    """The parameters of one image."""
    return jax.tree.map(lambda numbers: np.asarray(numbers)[i], parameters)


def test_crops_are_those_of_pillow():
    boxes = np.array([[0, 0, 12, 16], [1.5, 3.2, 6.4, 5.1], [2, 1, 9.7, 14.5], [4, 4, 8, 8]])
    images = random_images(len(boxes), 12, 16)
    parameters = neutral(len(boxes), crop=Boxes(*jnp.float32(boxes.T)))
    for size in (5, 8, 20):
        found = apply(CROP, images, parameters, size)
        assert found.shape == (len(boxes), size, size, 3)
        for image, box, crop in zip(images, boxes, found, strict=True):
            np.testing.assert_allclose(crop, cut_by_pillow(image, box, size), rtol=0, atol=1e-5)


def test_a_crop_has_the_side_of_its_image_unless_another_is_given():
    images, parameters = random_images(2), neutral(2)
    assert apply(CROP, images, parameters).shape == (2, 16, 16, 3)
    assert apply(CROP, images, parameters, 9).shape == (2, 9, 9, 3)


def test_crops_of_images_that_are_not_square_need_a_size():
    images, parameters = random_images(2, 12, 16), neutral(2, 12, 16)
    with pytest.raises(UserError, match="images of 12x16 px, which are not square, need a size"):
        apply(CROP, images, parameters)
    assert apply(CROP, images, parameters, 9).shape == (2, 9, 9, 3)


def test_entire_images_are_resized_where_nothing_is_cropped():
    images = random_images(2, 12, 16)
    found = apply(Augmentation(), images, neutral(2, 12, 16), 7)
    for image, resized in zip(images, found, strict=True):
        expected = cut_by_pillow(image, (0, 0, 12, 16), 7)
        np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-5)


def test_chosen_images_are_mirrored_bit_for_bit():
    images = random_images(3)
    found = apply(Augmentation(flip=0.5), images, neutral(3, flip=jnp.array([True, False, True])))
    np.testing.assert_array_equal(found[0], images[0, :, ::-1])
    np.testing.assert_array_equal(found[1], images[1])
    np.testing.assert_array_equal(found[2], images[2, :, ::-1])


def test_chosen_images_are_gray_as_pillow_has_it_or_by_the_mean_of_their_colors():
    pixels = random_bytes(2)
    images, parameters = color.to_unit(pixels), neutral(2, gray=jnp.array([False, True]))
    luma = apply(Augmentation(gray=0.5), images, parameters)
    mean = apply(Augmentation(gray=0.5, gray_kind="mean"), images, parameters)

    by_pillow = np.asarray(ImageOps.grayscale(Image.fromarray(pixels[1])))
    assert_levels(luma[1], by_pillow[..., None].repeat(3, axis=-1), 1)
    expected = pixels[1].astype(float).mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    assert_levels(mean[1], expected, 1e-3)
    np.testing.assert_array_equal(luma[0], images[0])
    np.testing.assert_array_equal(mean[0], images[0])


def test_chosen_images_are_solarized_as_pillow_has_it():
    pixels = random_bytes(2)
    images = color.to_unit(pixels)
    found = apply(Augmentation(solarize=0.5), images, neutral(2, solarize=jnp.array([False, True])))
    expected = np.asarray(ImageOps.solarize(Image.fromarray(pixels[1]), threshold=128))
    np.testing.assert_array_equal(found[0], images[0])
    assert_levels(found[1], expected, 1e-3)


def test_chosen_images_are_blurred():
    images = random_images(2)
    parameters = neutral(2, blur=jnp.array([False, True]), sigma=jnp.array([0.0, 0.8]))
    found = apply(Augmentation(blur=0.5), images, parameters)
    expected = ndimage.gaussian_filter(images[1], (0.8, 0.8, 0), mode="mirror", radius=(1, 1, 0))
    np.testing.assert_array_equal(found[0], images[0])
    np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-5)


def test_images_without_jitter_stay_bit_for_bit_among_others():
    images, jitter = random_images(2), jnp.array([True, False])
    parameters = neutral(
        2, jitter=jitter, brightness=jnp.array([0.7, 1.0]), hue=jnp.array([0.1, 0.0])
    )
    for kind in ("torchvision", "slim"):
        found = apply(Augmentation(jitter=0.5, jitter_kind=kind), images, parameters)
        assert np.abs(found[0] - images[0]).max() > 0.1
        np.testing.assert_array_equal(found[1], images[1])


def test_the_jitter_of_slim_takes_the_numbers_that_were_drawn():
    images = random_images(16)
    parameters = draw(SLIM, jax.random.key(0), 16, 16, 16)
    _, brightness, contrast, saturation, hue = parameters[3:8]
    rgb = slim_jitter(images / 2 + 0.5, brightness, contrast, saturation, hue)
    expected = 2 * rgb - 1
    np.testing.assert_allclose(apply(SLIM, images, parameters), expected, rtol=0, atol=1e-5)


def test_a_whole_augmentation_is_that_of_pillow_image_by_image():
    count, size = 40, 24
    pixels = random_bytes(count, 32, 32)
    parameters = draw(EVERYTHING, jax.random.key(1), count, 32, 32)
    found = apply(EVERYTHING, color.to_unit(pixels), parameters, size)
    for i in range(count):
        expected = augmented_by_pillow(pixels[i], image_of(parameters, i), size)
        # Every operation of Pillow's rounds to 8 bits, and those after it may double the error.
        assert_levels(found[i], expected, 10)
        assert np.abs(127.5 * (found[i] + 1) - expected).mean() < 2


@pytest.mark.parametrize("height", [16, 24])
def test_with_nothing_on_the_images_are_returned_as_they_are(height: int):
    images = random_images(4, height)
    parameters = draw(EVERYTHING, jax.random.key(0), 4, height, 16)
    assert Augmentation().apply(images, parameters) is images
    drawn = draw(Augmentation(), jax.random.key(0), 4, height, 16)
    np.testing.assert_array_equal(drawn.vector(), neutral(4, height, 16).vector())


@pytest.mark.parametrize("augmentation", [EVERYTHING, STRONG, SLIM])
def test_neutral_parameters_leave_images_as_they_are(augmentation: Augmentation):
    images = random_images(16)
    found = apply(augmentation, images, neutral(16))
    np.testing.assert_allclose(found, images, rtol=0, atol=1e-5)


def test_images_stay_in_their_range():
    images = random_images(16)
    for augmentation in (EVERYTHING, STRONG, SLIM):
        parameters = draw(augmentation, jax.random.key(0), 16, 16, 16)
        found = apply(augmentation, images, parameters)
        assert found.dtype == jnp.float32
        assert np.abs(found).max() <= 1 + 1e-5


@pytest.mark.parametrize("jitter_kind", ["torchvision", "slim"])
def test_gradients_are_finite_on_gray_black_and_white_images(jitter_kind: str):
    augmentation = dataclasses.replace(EVERYTHING, jitter=1.0, jitter_kind=jitter_kind)
    images = random_images(16)
    images[0:4], images[4:8], images[8:12] = 0.2, -1, 1
    parameters = draw(augmentation, jax.random.key(0), 16, 16, 16)

    def changed(images: jax.Array) -> jax.Array:
        return jnp.sum(apply(augmentation, images, parameters) ** 2)

    gradient = np.asarray(jax.jit(jax.grad(changed))(images))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
