import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lens_jax.ops.blur import blur_radius, gaussian_blur

blur = jax.jit(gaussian_blur)


def random_images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, height, width, 3))


def blurred_by_scipy(image: np.ndarray, sigma: float, radius: int) -> np.ndarray:
    channels = []
    for channel in np.moveaxis(image, -1, 0):
        channels.append(ndimage.gaussian_filter(channel, sigma, mode="mirror", radius=radius))
    return np.stack(channels, axis=-1)


@pytest.mark.parametrize(("height", "width", "radius"), [(64, 64, 3), (45, 60, 2), (9, 7, 1)])
def test_each_image_is_blurred_with_its_own_standard_deviation(x64, height, width, radius):
    images = random_images(4, height, width)
    sigmas = np.array([0.1, 0.5, 1.3, 2.0])
    for image, sigma, found in zip(images, sigmas, blur(images, sigmas), strict=True):
        expected = blurred_by_scipy(image, sigma, radius)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_kernel_is_about_a_tenth_of_the_side_and_at_least_three_pixels():
    for side, kernel in [(1, 3), (16, 3), (32, 3), (64, 7), (96, 9), (128, 13), (224, 23)]:
        assert 2 * blur_radius(side) + 1 == kernel


def test_a_point_spreads_as_the_bell_curve_cut_at_the_radius(x64):
    image = np.zeros((1, 64, 64, 1))
    image[0, 30, 20] = 1
    bell = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    bell /= bell.sum()
    expected = np.zeros((64, 64))
    expected[27:34, 17:24] = np.outer(bell, bell)
    found = blur(image, np.array([1.5]))[0, ..., 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_a_standard_deviation_of_zero_leaves_an_image_as_it_is():
    images = random_images(3, 20, 20).astype(np.float32)
    found = blur(images, jnp.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(found[0], images[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[2], images[2], rtol=0, atol=1e-6)
    assert np.abs(found[1] - images[1]).max() > 0.1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 5), (40, 40)])
def test_an_image_of_one_color_stays_so_up_to_its_edges(height: int, width: int):
    images = np.full((2, height, width, 3), 0.3, np.float32)
    found = blur(images, jnp.array([0.7, 2.0]))
    np.testing.assert_allclose(found, images, rtol=0, atol=1e-6)


def test_gradients_are_finite_and_those_of_a_linear_map(x64):
    images = random_images(3, 12, 12)
    weights = np.random.default_rng(1).normal(size=images.shape)
    sigmas = np.array([0.0, 0.4, 2.0])

    def weighted(x: jax.Array) -> jax.Array:
        return jnp.sum(weights * gaussian_blur(x, sigmas))

    value, gradient = jax.jit(jax.value_and_grad(weighted))(images)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(jnp.sum(gradient * images), value, rtol=1e-10)
