"""Marks that are planted are found, in the class and the images that have them, and only there."""

import numpy as np
import pytest

from lens_jax.audit import fixed, known, marks, plants
from lens_jax.audit.copies import make_copy, sample_of
from lens_jax.audit.levels import LEAST_RATE, find_changed
from lens_jax.audit.statistics import describe_levels

CLASSES = 4
COUNT = 200
LABELS = np.arange(COUNT) % CLASSES
MARKED = np.flatnonzero(LABELS == 2)[::2]


def find(images: np.ndarray) -> dict:
    copies = [make_copy(image) for image in images]
    names = [str(number) for number in range(CLASSES)]
    sample = sample_of(copies, LABELS, names, [1] * COUNT)
    paths = [str(index) for index in range(COUNT)]
    found = marks.find_marks(sample._replace(paths=paths), copies, np.random.default_rng(0))
    return {each["kind"]: each for each in found["kinds"]} | {"fixed": found["fixed"]}


def planted(images: np.ndarray, name: str) -> np.ndarray:
    marked = images.copy()
    rng = np.random.default_rng(1)
    for index in MARKED:
        marked[index] = plants.PLANTS[name].draw(images[index], rng)
    return marked


def test_of_images_as_they_are_nothing_is_found(textures):
    found = find(textures(COUNT))
    assert found.pop("fixed") == []
    assert not any(known.is_found(each) for each in found.values())


@pytest.mark.parametrize(("name", "kind"), [("blur", "blur"), ("color_fringe", "fringe")])
def test_a_mark_in_half_of_a_class_is_found_and_named(textures, name, kind):
    # In photographs, edges of all colors lie at the same places.
    gray = textures(COUNT)[..., :1].repeat(3, axis=-1)
    each = find(planted(gray, name))[kind]
    assert known.is_found(each)
    assert each["class"] == "2"
    flagged = {int(path) for path in each["scores"]}
    assert flagged <= set(MARKED.tolist())
    assert len(flagged) >= 8


def test_a_patch_at_one_place_is_found_at_its_place(textures):
    (each,) = find(planted(textures(COUNT, side=48), "fixed_patch"))["fixed"]
    assert each["class"] == "2"
    flagged = {int(path) for path in each["scores"]}
    assert len(flagged & set(MARKED.tolist())) >= 0.8 * len(flagged) >= 10
    mask = plants.plant("fixed_patch", textures(1, side=48)[0], np.random.default_rng(0)).mask
    rows, columns = np.nonzero(mask)
    edges = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    np.testing.assert_allclose(list(each["box"].values()), np.array(edges) / 48, atol=1 / 16)


def test_objects_at_the_same_places_are_no_marks(textures):
    # Every class has a sharp outline of its own.
    images = textures(COUNT, side=64).astype(int)
    for number in range(CLASSES):
        edges = np.random.default_rng(number).integers(-60, 60, (16, 16))
        outline = edges.repeat(4, axis=0).repeat(4, axis=1)
        images[number == LABELS] += outline[..., None]
    details = fixed.find_details(np.clip(images, 0, 255).astype(np.uint8))
    compared = fixed.compare_details(details, LABELS, critical=4.0)
    assert compared.is_aligned
    assert fixed.find_marked(compared) == []


def test_of_rare_details_luck_finds_something_rarely():
    rng = np.random.default_rng(0)
    # At each place, a few images have a bright spot, and all others nothing.
    details = np.where(rng.random((COUNT, 32, 32)) < 0.01, 200, 0).astype(np.float32)
    critical = fixed.find_critical(details, LABELS, seed=0)
    found = 0
    for _ in range(20):
        compared = fixed.compare_details(details, rng.permutation(LABELS), critical)
        found += bool(fixed.find_marked(compared))
    assert found <= 4


def test_z_of_a_detail_by_hand():
    details = 10 * np.random.default_rng(0).normal(size=(COUNT, 32, 32)).astype(np.float32)
    compared = fixed.compare_details(details, LABELS, critical=5.0)
    one = details[LABELS == 1, 5, 7]
    others = details[LABELS != 1, 5, 7]
    error = np.sqrt((one.var() + 1) / len(one) + (others.var() + 1) / len(others))
    z = (one.mean() - others.mean()) / error
    # Scaled so that the median of |z| is that of a normal one, and never enlarged.
    assert abs(z) * 0.9 < abs(compared.z[1, 5, 7]) <= abs(z) * 1.001


def test_teeth_of_a_histogram_by_hand():
    image = np.full((4, 4, 3), 100, np.uint8)
    image[0, 0] = 101
    levels = describe_levels(image).reshape(3, 240)
    # 15 pixels of level 100, one beside it.
    assert levels[0, 100 - 8] == pytest.approx((15 - 0.5) / np.sqrt(15 + 0.5 + 1))
    assert levels[0, 101 - 8] == pytest.approx((1 - 7.5) / np.sqrt(1 + 7.5 + 1))
    assert levels[2, 50] == 0


def test_a_cast_in_a_fifth_of_the_images_is_found(textures):
    images = textures(COUNT, side=48)
    clean = np.array([describe_levels(image) for image in images])
    assert find_changed(clean, seed=0)["rate"] < LEAST_RATE
    rows = np.arange(0, COUNT, 5)
    cast = clean.copy()
    for row in rows:
        cast[row] = describe_levels(plants.color_cast(images[row], np.random.default_rng(0)))
    found = find_changed(cast, seed=0)
    assert found["colors"] == ["green", "blue"]
    assert len(set(found["rows"]) & set(rows.tolist())) > 0.9 * len(rows)
    assert len(found["rows"]) < 1.1 * len(rows)
