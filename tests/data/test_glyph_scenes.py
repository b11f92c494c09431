import itertools

import numpy as np
import pytest

from lens_jax.data.builders import glyph_scenes as scenes
from lens_jax.data.builders import glyphs
from lens_jax.data.builders.glyph_scenes import Factors
from lens_jax.data.decode import decode
from lens_jax.data.regions import overlap


@pytest.fixture(scope="module")
def made() -> list[tuple[np.ndarray, Factors]]:
    return [scenes.make("train", index) for index in range(40)]


def test_a_scene_is_a_function_of_seed_split_and_index(made):
    image, factors = scenes.make("train", 7)
    np.testing.assert_array_equal(image, made[7][0])
    assert factors == made[7][1]
    assert image.shape == (96, 96, 3)
    for other in (scenes.make("test", 7), scenes.make("train", 7, seed=1)):
        assert (other[0] != image).mean() > 0.5
    with pytest.raises(ValueError, match="validation"):
        scenes.make("validation", 0)


def test_factors_do_not_depend_on_the_size(made):
    image, factors = scenes.make("train", 3, 64)
    assert image.shape == (64, 64, 3)
    assert factors == made[3][1]


def test_letters_are_three_to_five_of_different_classes(made):
    counts = set()
    for _, factors in made:
        labels = [letter.label for letter in factors.letters]
        assert len(set(labels)) == len(labels)
        counts.add(len(labels))
    assert counts == {3, 4, 5}


def test_a_box_is_that_of_the_ink(made):
    for _, factors in made[:10]:
        for letter in factors.letters:
            ink = scenes.coverage(letter, 200) > 0
            rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
            found = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
            np.testing.assert_allclose(np.array(letter.box) * 200, found, atol=2)


def test_letters_are_partly_hidden_and_the_rest_of_them_is_measured(made):
    fractions = []
    for _, factors in made:
        # Painted back to front: what is left of a letter is where no later one lies.
        covers = [scenes.coverage(letter, 96) for letter in factors.letters]
        for index, letter in enumerate(factors.letters):
            left = np.copy(covers[index])
            for later in covers[index + 1 :]:
                left = left * (1 - later)
            expected = left.sum() / covers[index].sum()
            assert letter.visible == pytest.approx(expected)
            fractions.append(expected)
        boxes = [letter.box for letter in factors.letters]
        for one, other in itertools.combinations(boxes, 2):
            assert overlap(one, other) <= scenes.MAX_OVERLAP
    assert min(fractions) >= scenes.MIN_VISIBLE
    assert 0.2 < np.mean(np.array(fractions) < 0.99) < 0.7


def test_letters_stand_out_from_the_background_and_each_other(made):
    for _, factors in made:
        colors = [letter.color for letter in factors.letters]
        for color in colors:
            assert glyphs.contrast(color, *factors.background_colors) >= glyphs.MIN_CONTRAST
        for one, other in itertools.combinations(colors, 2):
            assert np.linalg.norm(np.subtract(one, other)) >= scenes.MIN_DISTANCE


def test_pixels_have_the_colors_of_what_is_in_front(made):
    for image, factors in made[:10]:
        front = factors.letters[-1]
        inside = scenes.coverage(front, 96) == 1
        np.testing.assert_allclose(image[inside].mean(axis=0) / 255, front.color, atol=0.02)


def test_what_is_stored_is_what_was_made(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "SPLITS", {"train": 3, "test": 2})
    builder = scenes.GlyphScenes(config="64", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    rows = builder.as_data_source("train")
    assert len(rows) == 3
    for row in rows:
        image, factors = scenes.make("train", int(row["index"]), 64)
        np.testing.assert_array_equal(row["image"], image)
        stored = row["objects"]
        labels = [letter.label for letter in factors.letters]
        assert np.asarray(stored["label"]).tolist() == labels
        boxes = [letter.box for letter in factors.letters]
        np.testing.assert_allclose(stored["bbox"], boxes, atol=1e-6)
        visible = [letter.visible for letter in factors.letters]
        np.testing.assert_allclose(stored["visible"], visible, atol=1e-6)
    encoded = scenes.example(*scenes.make("test", 0), 0)["image"]
    np.testing.assert_array_equal(decode(encoded), scenes.make("test", 0)[0])
