import numpy as np
import pytest

from lens_jax.audit import maps


@pytest.fixture
def images(textures) -> np.ndarray:
    return textures(120, side=64)


LABELS = np.arange(120) % 3


def planted(images: np.ndarray, value: int) -> np.ndarray:
    """A patch of one value in the top right corner of class 1."""
    marked = images.copy()
    marked[LABELS == 1, 4:10, 52:58] = value
    return marked


@pytest.mark.parametrize("value", [255, 128])
def test_a_fixed_patch_is_found_at_its_place(images, value):
    # The median of the others is 128: only how near to it tells.
    found = maps.measure_information(planted(images, value), LABELS, seed=0)
    assert found.p <= 0.01
    assert 0 < found.fractions[1] < 0.02
    spot = found.spots[1]
    assert spot.top == pytest.approx(4 / 64, abs=1 / 32)
    assert spot.bottom == pytest.approx(10 / 64, abs=1 / 32)
    assert spot.left == pytest.approx(52 / 64, abs=1 / 32)
    assert spot.right == pytest.approx(58 / 64, abs=1 / 32)
    rest = found.maps[1].copy()
    rest[2:5, 26:29] = 0
    assert found.maps[1, 3, 27] > 0.95
    assert found.maps[1, 3, 27] > 1.5 * rest.max()


def test_without_a_patch_nothing_stands_out(images):
    found = maps.measure_information(images, LABELS, seed=0)
    assert found.p > 0.05
    assert found.fractions == [0, 0, 0]
    assert found.maps.max() <= found.null_highest


def test_the_map_is_the_auc_of_each_pixel(textures):
    gray = textures(40, side=64)[..., :1].repeat(3, axis=-1)
    labels = np.arange(40) % 2
    found = maps.measure_information(gray, labels, seed=0)
    values = gray.reshape(40, 32, 2, 32, 2, 3).mean(axis=(2, 4))[..., 0]
    values = np.round(values)
    distances = np.abs(values - np.median(values, axis=0))
    for row, column in ((0, 0), (5, 20), (31, 7)):
        strengths = []
        for each in (values, np.floor(distances)):
            one, other = each[labels == 1, row, column], each[labels == 0, row, column]
            wins = [(p > n) + 0.5 * (p == n) for p in one for n in other]
            strengths.append(2 * abs(np.mean(wins) - 0.5))
        assert found.maps[1, row, column] == pytest.approx(max(strengths), abs=0.03)


def test_mean_images_are_those_of_each_class(images):
    means = maps.mean_images(images, LABELS)
    expected = np.mean(images[LABELS == 2].astype(float), axis=0)
    np.testing.assert_allclose(means[2], expected, atol=0.51)


def test_a_spot_is_what_stands_out_and_not_what_is_largest():
    values = np.zeros((32, 32))
    values[10:30, 2:22] = 0.9
    values[3:5, 27:30] = 0.6
    assert maps.find_spot(values) == (3 / 32, 27 / 32, 5 / 32, 30 / 32)
