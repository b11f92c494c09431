import dataclasses
import itertools

import numpy as np
import pytest

from lens_jax.data.builders import glyphs


@pytest.fixture(scope="module")
def factors() -> list[glyphs.Factors]:
    return [glyphs.make("train", index)[1] for index in range(500)]


def test_an_example_is_a_function_of_seed_split_and_index():
    image, factors = glyphs.make("train", 7)
    again, same = glyphs.make("train", 7)
    np.testing.assert_array_equal(image, again)
    assert factors == same
    for other in (glyphs.make("train", 8), glyphs.make("test", 7), glyphs.make("train", 7, seed=1)):
        assert (other[0] != image).mean() > 0.5


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="validation"):
        glyphs.make("validation", 0)


def test_factors_do_not_depend_on_the_size():
    for size in glyphs.SIZES:
        image, factors = glyphs.make("test", 3, size)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        assert factors == glyphs.make("test", 3)[1]


def test_factors_are_in_range_and_cover_it(factors):
    ranges = {
        "scale": glyphs.SCALE_RANGE,
        "tilt": glyphs.TILT_RANGE,
        "noise_std": glyphs.NOISE_RANGE,
        "gradient_angle": (0.0, 360.0),
    }
    for name, (low, high) in ranges.items():
        values = np.array([getattr(each, name) for each in factors])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high >= values.max() > high - 0.05 * (high - low)
    assert {each.font for each in factors} == set(range(len(glyphs.FONTS)))
    colors = np.array([(each.letter_color, *each.background_colors) for each in factors])
    assert colors.min() >= 0
    assert colors.max() <= 1


def test_labels_are_balanced(factors):
    counts = np.bincount([each.label for each in factors])
    np.testing.assert_array_equal(counts, len(factors) // len(glyphs.LETTERS))


def test_letters_stand_out(factors):
    luma = np.array([0.299, 0.587, 0.114])
    for each in factors:
        background = glyphs.gradient(each.background_colors, each.gradient_angle, 32) @ luma
        difference = np.abs(background - np.dot(luma, each.letter_color))
        assert difference.min() >= glyphs.MIN_CONTRAST - 1e-6


def test_letters_stay_inside_and_have_their_size_and_position(factors):
    size = 128
    for each in factors[:100]:
        ink = glyphs.coverage(each, size) > 0
        # The edges of the letter's bounding box.
        rows = np.flatnonzero(ink.any(axis=1))
        columns = np.flatnonzero(ink.any(axis=0))
        top, bottom = rows[0], rows[-1] + 1
        left, right = columns[0], columns[-1] + 1
        assert min(top, left) > 0
        assert max(bottom, right) < size
        longer = max(bottom - top, right - left)
        assert longer == pytest.approx(each.scale * size, abs=2.5)
        assert (left + right) / 2 == pytest.approx(each.x * size, abs=2)
        assert (top + bottom) / 2 == pytest.approx(each.y * size, abs=2)


def test_gradient_runs_between_its_colors_along_its_angle():
    colors = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    right, down, left = (glyphs.gradient(colors, angle, 10)[..., 0] for angle in (0, 90, 180))
    ramp = np.arange(0.05, 1, 0.1)
    np.testing.assert_allclose(right, np.tile(ramp, (10, 1)), atol=1e-9)
    np.testing.assert_allclose(down, right.T, atol=1e-9)
    np.testing.assert_allclose(left, right[:, ::-1], atol=1e-9)


@pytest.mark.parametrize("font", range(len(glyphs.FONTS)))
def test_letters_differ_in_all_orientations(font, factors):
    upright = dataclasses.replace(factors[0], font=font, x=0.5, y=0.5, scale=0.8, tilt=0.0)
    views = []
    for label in range(len(glyphs.LETTERS)):
        image = glyphs.coverage(dataclasses.replace(upright, label=label), 32)
        views += [np.rot90(image, turns) for turns in range(4)]
    for one, other in itertools.combinations(views, 2):
        # As a fraction of the ink: an E without one of its strokes is an F.
        assert np.abs(one - other).sum() > 0.1 * one.sum()


@pytest.mark.parametrize("split", ["train", "test"])
def test_stored_examples_can_be_made_again(data_dir, split):
    builder = glyphs.Glyphs(config="32", data_dir=data_dir, file_format="array_record")
    rows = builder.as_data_source(split)
    assert len(rows) == glyphs.SPLITS[split]
    for row in (rows[0], rows[777]):
        image, factors = glyphs.make(split, int(row["index"]))
        np.testing.assert_array_equal(row["image"], image)
        for name, value in vars(factors).items():
            np.testing.assert_allclose(row[name], value, rtol=1e-6)


def test_every_index_is_stored_once(data_dir):
    builder = glyphs.Glyphs(config="32", data_dir=data_dir, file_format="array_record")
    indices = [int(row["index"]) for row in builder.as_data_source("test")]
    assert sorted(indices) == list(range(2_000))
