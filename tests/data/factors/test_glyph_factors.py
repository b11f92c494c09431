import dataclasses

import numpy as np
import pytest
from scipy import constants

from lens_jax.data import factors
from lens_jax.data.builders import glyph_frames
from lens_jax.data.builders import glyphs as glyph_images
from lens_jax.data.builders.letters import LETTERS
from lens_jax.data.decode import decode
from lens_jax.data.factors import glyphs
from lens_jax.errors import UserError


def varying(factor: str, number: int = 7) -> set[str]:
    """What is not the same on all images of a set."""
    images = [dataclasses.asdict(glyphs.describe(factor, number, step)) for step in range(12)]
    return {name for name in images[0] if len({str(image[name]) for image in images}) > 1}


@pytest.mark.parametrize(
    ("factor", "names"),
    [
        ("occlusion", {"bar"}),
        ("viewpoint", {"viewpoint"}),
        ("illumination_direction", {"light"}),
        ("illumination_color", set()),
    ],
)
def test_in_a_set_one_factor_changes(factor: str, names: set[str]):
    assert varying(factor) == names


def test_instances_are_other_letters_of_one_class_and_seen_from_one_side_or_from_all():
    instance = {"font", "scale", "letter_color", "bar_color", "bar_angle", "noise_std"}
    # The gradient is between black and black.
    assert varying("instance") - {"gradient_angle"} == instance
    assert varying("instance_viewpoint") - {"gradient_angle"} == instance | {"viewpoint"}

    colors = set()
    sides = set()
    for number in range(glyphs.SETS):
        images = [glyphs.describe("instance", number, step) for step in range(glyphs.IMAGES)]
        assert {image.label for image in images} == {number % len(LETTERS)}
        colors |= {image.letter_color for image in images}
        sides |= {round(image.viewpoint) for image in images}
    assert len(colors) == glyphs.SETS * glyphs.IMAGES
    assert sides == {-54, -42, -30, -18, -6, 6, 18, 30, 42, 54}


def test_letters_stand_out_of_black():
    for number in range(20):
        letter = glyphs.describe("viewpoint", number, 0)
        assert letter.background_colors == ((0, 0, 0), (0, 0, 0))
        black = (0.0, 0.0, 0.0)
        assert glyph_images.contrast(letter.letter_color, black, black) >= 0.4
        image = glyphs.render("viewpoint", number, 0, 48)
        corners = image[:4, :4].astype(int)
        assert corners.max() < 40
        assert image.max() > 60


def test_letters_are_inside_from_every_side():
    for number in range(40):
        for step in (0, 5, 11):
            image = glyphs.describe("viewpoint", number, step)
            cover = glyph_frames.letter_coverage(image, 64)
            edges = (cover[0], cover[-1], cover[:, 0], cover[:, -1])
            assert max(edge.max() for edge in edges) == 0
            assert cover.sum() > 64


def test_light_is_that_of_a_glowing_body():
    # White where it has the temperature of daylight, and from reddish to bluish.
    inverse = np.array([1 / 2500, 1 / 6500, 1 / 12000])
    daylight = (inverse[1] - inverse[0]) / (inverse[2] - inverse[0])
    np.testing.assert_allclose(glyphs.glow(daylight), [1, 1, 1])
    colors = np.array([glyphs.glow(step / 10) for step in range(11)])
    assert (np.diff(colors[:, 2] / colors[:, 0]) > 0).all()
    np.testing.assert_allclose(colors.max(axis=1), 1)

    def radiance(wavelength: float, kelvin: float) -> float:
        exponent = constants.h * constants.c / (wavelength * constants.k * kelvin)
        return wavelength**-5 / (np.exp(exponent) - 1)

    waves = (600e-9, 550e-9, 450e-9)
    expected = np.array([radiance(wave, 2500) / radiance(wave, 6500) for wave in waves])
    np.testing.assert_allclose(glyphs.glow(0), expected / expected.max(), rtol=1e-3)


def test_the_color_of_the_light_is_that_of_the_letter():
    # Under reddish light, what is left of a letter's blue is less than of its red.
    first = glyphs.render("illumination_color", 3, 0, 48).astype(float)
    last = glyphs.render("illumination_color", 3, 11, 48).astype(float)
    brightest = np.unravel_index(first[..., 0].argmax(), first.shape[:2])
    assert first[brightest][0] > last[brightest][0]
    assert first[brightest][2] < last[brightest][2]


def test_sources_show_the_images_of_their_sets():
    found = factors.open_factors("glyph_factors", "", 32)
    assert tuple(found) == glyphs.FACTORS
    fingerprints = set()
    for factor, (source, sets) in found.items():
        assert len(source) == len(sets) == 1200
        np.testing.assert_array_equal(np.bincount(sets), 12)
        record = source[317]
        np.testing.assert_array_equal(decode(record["image"]), glyphs.render(factor, 26, 5, 32))
        assert (record["label"], sets[317]) == (6, 26)
        assert source[317] == record
        fingerprints.add(source.fingerprint)
    larger = glyphs.open_glyph_factors(500)["viewpoint"].source
    assert decode(larger[0]["image"]).shape == (96, 96, 3)
    assert len(fingerprints | {larger.fingerprint}) == 7


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [
        ("glyphs", "", "unknown data 'glyphs': choose one of glyph_factors, aloi, got10k, pascal"),
        ("glyph_factors", "/data", "glyph_factors is rendered and has no folder '/data'"),
        ("aloi", "", "no folder for aloi: give one such as folder=/data/aloi"),
        ("aloi", "/none", "no folder at '/none': expected the folder png2 that aloi_red2_view"),
        ("got10k", "/none", "no folder at '/none': expected the training part of GOT-10K: list"),
        ("pascal3d", "/none", "no folder at '/none': expected the folder of PASCAL3D"),
    ],
)
def test_data_that_are_not_there_are_one_line(name: str, folder: str, words: str):
    with pytest.raises(UserError, match=words) as error:
        factors.open_factors(name, folder, 32)
    assert "\n" not in str(error.value)
