import numpy as np
from PIL import Image

from lens_jax.audit import duplicates
from lens_jax.audit.duplicates import Pair
from lens_jax.audit.folder import choose_images, open_folder
from lens_jax.audit.reading import read_folder


def save(image: np.ndarray, path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def test_copies_are_found_with_what_they_are_copies_of(textures, tmp_path):
    images = textures(5, side=48)
    for number, image in enumerate(images):
        save(image, tmp_path / f"{number}.png")
    save(images[1], tmp_path / "5.png")
    save(images[2], tmp_path / "6.bmp")
    save(images[3], tmp_path / "7.jpg", quality=95, subsampling=0)
    folder = open_folder(str(tmp_path))
    reading = read_folder(folder, choose_images(folder, seed=0))

    found = duplicates.find_duplicates(reading)
    assert [pair[:3] for pair in found] == [
        (5, 1, "same bytes"),
        (6, 2, "same pixels"),
        (7, 3, "near duplicate"),
    ]
    assert [pair.score for pair in found[:2]] == [1, 1]
    assert duplicates.LEAST_CORRELATION <= found[2].score <= 1
    assert duplicates.first_of_each(8, found).tolist() == 5 * [True] + 3 * [False]


def test_images_that_are_merely_alike_or_flat_are_no_duplicates():
    ramp = np.linspace(0, 200, 64)[None, :, None] * np.ones((64, 1, 3))
    flat = np.full((64, 64, 3), 90.0)
    images = np.array([ramp, ramp + 30, flat, flat + 1, ramp[::-1, ::-1]]).astype(np.uint8)
    assert duplicates.find_similar(images) == []


def test_a_chain_of_pairs_is_one_group():
    pairs = [Pair(1, 0, "", 1), Pair(3, 1, "", 1), Pair(4, 2, "", 1)]
    found = duplicates.first_of_each(6, pairs)
    assert found.tolist() == [True, False, True, False, False, True]


def test_every_pair_is_found_across_the_blocks_that_are_compared(textures, monkeypatch):
    monkeypatch.setattr(duplicates, "_ROWS", 3)
    some = textures(7, side=64)
    images = np.concatenate([some, some[::-1]])
    found = [(file, like) for file, like, _ in duplicates.find_similar(images)]
    assert found == [(7 + number, 6 - number) for number in range(7)]


def test_no_image_at_all_has_no_duplicates():
    assert duplicates.find_similar(np.zeros((0, 64, 64, 3), np.uint8)) == []
