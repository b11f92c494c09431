"""Segmentation: the counting against loops, and maps whose answer is known."""

import pathlib

import cv2
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.eval.segmentation import count_pixels, intersection_over_union, majority
from lens_jax.eval.suites.segmentation import Segmentation

RNG = np.random.default_rng(0)


def test_the_most_frequent_class_of_a_cell_is_that_of_loops():
    mask = RNG.integers(0, 4, (12, 12)).astype(np.uint8)
    mask[:6, :4] = 0
    found = majority(mask, 2, 3, classes=3).reshape(2, 3)
    for row in range(2):
        for column in range(3):
            cell = mask[6 * row : 6 * row + 6, 4 * column : 4 * column + 4]
            counts = [np.sum(cell == value) for value in (1, 2, 3)]
            expected = 1 + int(np.argmax(counts)) if max(counts) else 0
            assert found[row, column] == expected
    assert found[0, 0] == 0


def test_intersection_and_union_are_counted_over_known_pixels():
    mask = np.array([[1, 1, 2], [0, 2, 2]], np.uint8)
    predicted = np.array([[1, 2, 2], [3, 2, 1]])
    confusion = count_pixels(mask, predicted, 4)
    assert confusion.sum() == 5
    assert confusion[0].tolist() == [1, 1, 0, 0]
    assert confusion[1].tolist() == [1, 2, 0, 0]
    iou = intersection_over_union(confusion)
    # Class 1: one right of 1 + 1 missed + 1 wrong; class 2: two right of 2 + 1 + 1.
    np.testing.assert_allclose(iou[:2], [1 / 3, 2 / 4])
    assert np.isnan(iou[2:]).all()


@pytest.fixture
def halves(tmp_path) -> str:
    """A folder of images of a dark and a light half; the border of their masks is unknown."""
    folder = tmp_path / "halves"
    for split, count in (("training", 12), ("validation", 6)):
        for index in range(count):
            light_first = index % 2 == 0
            image = RNG.integers(20, 40, (16, 16, 3)).astype(np.uint8)
            mask = np.ones((16, 16), np.uint8)
            part = slice(0, 8) if light_first else slice(8, 16)
            image[:, part] += 180
            mask[:, part] = 2
            mask[[0, -1]] = 0
            write(folder, split, str(index), image, mask)
    return str(folder)


def write(folder: pathlib.Path, split: str, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for kind in ("images", "annotations"):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    (folder / "images" / split / f"{name}.jpg").write_bytes(jpeg.tobytes())
    _, encoded = cv2.imencode(".png", mask)
    (folder / "annotations" / split / f"{name}.png").write_bytes(encoded.tobytes())


def test_halves_are_told_apart_and_a_constant_map_is_one_class_everywhere(
    make_subject, constant, halves
):
    suite = Segmentation(folder=halves, classes=2)
    subject = make_subject()
    suite.check(subject)
    numbers = suite.measure(subject)
    assert list(numbers) == ["mean_iou", "pixel_accuracy", "iou/1", "iou/2"]
    assert numbers["mean_iou"] > 0.9

    # Half of all pixels are right, and the other class is never found.
    numbers = suite.measure(make_subject(constant))
    assert numbers["mean_iou"] == pytest.approx(1 / 4)
    assert numbers["pixel_accuracy"] == pytest.approx(1 / 2)


def test_what_is_no_map_of_an_image_is_refused(make_subject, make_jigsaw):
    with pytest.raises(UserError, match="unknown tap of suite 'segmentation' 'pre_logits'"):
        Segmentation(tap="pre_logits").check(make_subject())
    with pytest.raises(UserError, match="several crops, which have no common map"):
        Segmentation().check(make_subject(make_jigsaw()))


def test_the_images_are_rendered_by_default(make_subject):
    sources = Segmentation(examples=5).sources(make_subject())
    assert (len(sources["train"]), len(sources["test"])) == (5, 2000)
