import pathlib

import numpy as np
import pytest
from PIL import Image

from lens_jax.data.builders import glyphs, textured_glyphs
from lens_jax.data.builders.letters import LETTERS
from lens_jax.data.builders.textured_glyphs import Photographs, draw, render
from lens_jax.data.decode import decode
from lens_jax.data.source import open_source
from lens_jax.errors import UserError

SIZE = 32
OTHERS = ("test", "swapped", "silhouette")


def squares(value: int, count: int = 3) -> list[np.ndarray]:
    """Squares of noise around a gray value, each its own."""
    rng = np.random.default_rng(value)
    return [(value + rng.integers(-9, 10, (SIZE, SIZE, 3))).astype(np.uint8) for _ in range(count)]


# Ten textures, which a mean tells apart, and two backgrounds.
PHOTOGRAPHS = Photographs([squares(20 + 20 * i) for i in range(10)], [squares(60), squares(200)])


def texture_shown(fill: np.ndarray) -> int:
    return round((255 * fill.mean() - 20) / 20)


@pytest.mark.parametrize(("split", "tied"), [("train", 0.9), ("test", 0.9), ("test", 0.1)])
def test_a_letter_has_the_texture_of_its_class_as_often_as_wanted(split: str, tied: float):
    count = 600
    own = 0
    for index in range(count):
        drawn = draw(split, index, PHOTOGRAPHS, tied)
        assert drawn.factors.label == index % 10
        assert texture_shown(drawn.fill) == drawn.texture
        own += drawn.texture == drawn.factors.label
    # Four standard deviations.
    assert abs(own - count * tied) < 4 * np.sqrt(count * tied * (1 - tied))


def test_swapped_letters_have_the_texture_of_any_other_class():
    found = np.zeros((10, 10), int)
    for index in range(900):
        drawn = draw("swapped", index, PHOTOGRAPHS, 0.9)
        assert texture_shown(drawn.fill) == drawn.texture
        found[drawn.factors.label, drawn.texture] += 1
    assert not found.diagonal().any()
    assert (found + np.eye(10, dtype=int) > 0).all()


def test_silhouettes_have_one_color_that_tells_nothing():
    colors = []
    for index in range(300):
        fill = draw("silhouette", index, PHOTOGRAPHS, 1.0).fill
        assert (fill == fill[0, 0]).all()
        colors.append(fill[0, 0])
    by_class = np.reshape(colors, (30, 10, 3)).mean(axis=0)
    # The mean of 30 uniform numbers is 1/2 up to five standard deviations of 0.053.
    assert np.abs(by_class - 0.5).max() < 5 * 0.053


def test_the_other_splits_show_the_letters_of_the_test_at_their_places():
    for index in range(20):
        drawn = {split: draw(split, index, PHOTOGRAPHS, 0.9) for split in OTHERS}
        assert len({each.factors for each in drawn.values()}) == 1
        # The backgrounds differ by a constant.
        differences = drawn["test"].background - drawn["silhouette"].background
        assert np.ptp(differences) < 1e-12
    train = draw("train", 0, PHOTOGRAPHS, 0.9)
    assert train.factors != draw("test", 0, PHOTOGRAPHS, 0.9).factors


def test_the_letter_shows_the_fill_and_stands_out():
    for index in range(60):
        drawn = draw("test", index, PHOTOGRAPHS, 0.9)
        image = render(drawn) / 255
        assert image.shape == (SIZE, SIZE, 3)
        cover = glyphs.coverage(drawn.factors, SIZE)
        inside, outside = cover == 1, cover == 0
        assert inside.sum() > 30
        np.testing.assert_allclose(image[inside], drawn.fill[inside], atol=0.003)
        np.testing.assert_allclose(image[outside], drawn.background[outside].clip(0, 1), atol=0.003)
        contrast = image[inside].mean() - image[outside].mean()
        assert abs(contrast) > 0.25


def write_photographs(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Photographs of noise, of which each has more contrast than the one before."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        spread = 120 + 10 * number
        noise = rng.integers(128 - spread // 2, 128 + spread // 2, (128, 648, 3))
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def test_the_photographs_with_the_most_contrast_are_the_textures(tmp_path):
    paths = sorted(write_photographs(tmp_path / "photographs", 13).iterdir())
    found = textured_glyphs.cut_all(paths, SIZE)
    assert set(found) == {"train", "test"}
    for photographs in found.values():
        assert len(photographs.textures) == 10
        assert len(photographs.backgrounds) == 3
        weakest = min(square.std() for squares in photographs.textures for square in squares)
        strongest = max(square.std() for squares in photographs.backgrounds for square in squares)
        assert weakest > strongest


def test_all_splits_are_prepared_and_texture_can_be_classified_too(tmp_path, monkeypatch, capsys):
    counts = {"train": 30, "test": 20, "swapped": 20, "silhouette": 20}
    monkeypatch.setattr(textured_glyphs, "SPLITS", counts)
    folder = write_photographs(tmp_path / "photographs", 11)
    data = str(tmp_path / "data")
    textured_glyphs.prepare(str(folder), data, SIZE, 0.75)
    name = "textured_glyphs/32-tied75"
    path = tmp_path / "data" / "textured_glyphs" / "32-tied75" / "1.0.0"
    (*_, last) = capsys.readouterr().out.splitlines()
    held = "30 in train, 20 in test, 20 in swapped, 20 in silhouette"
    assert last == f"{path} holds {held}, of 11 photographs"

    photographs = textured_glyphs.cut_all(sorted(folder.iterdir()), SIZE)
    for split, count in counts.items():
        shapes = open_source(name, split, data)
        fills = open_source(f"tfds:{name},label=texture", split, data)
        assert shapes.class_names == fills.class_names == tuple(LETTERS)
        assert len(shapes) == count
        half = photographs["train" if split == "train" else "test"]
        expected = {}
        for index in range(count):
            drawn = draw(split, index, half, 0.75)
            expected[render(drawn).tobytes()] = (drawn.factors.label, drawn.texture)
        for index in range(count):
            pixels = decode(shapes[index]["image"]).tobytes()
            found = (shapes[index]["label"], fills[index]["label"])
            assert expected.pop(pixels) == found
    # The plain name stands for the only one, and no split is named for the test.
    assert open_source("textured_glyphs", "", data).split == "test"


def test_too_few_photographs_are_counted(tmp_path):
    folder = write_photographs(tmp_path / "photographs", 10)
    with pytest.raises(UserError, match=r"10 photographs in .* are large enough: expected 11"):
        textured_glyphs.prepare(str(folder), str(tmp_path / "data"), SIZE, 0.9)
    with pytest.raises(UserError, match="--size is 50: textured_glyphs has images of 32, 64, 96"):
        textured_glyphs.prepare(str(folder), str(tmp_path / "data"), 50, 0.9)
    assert not (tmp_path / "data").exists()
