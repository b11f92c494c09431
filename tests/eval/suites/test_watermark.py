import dataclasses

import numpy as np
import pytest
from matplotlib import font_manager

from lens_jax.data import watermark
from lens_jax.errors import UserError
from lens_jax.eval import suites
from lens_jax.eval.suites.base import Subject
from lens_jax.eval.suites.watermark import Watermark, compare

SANS = font_manager.findfont("DejaVu Sans")


def make_subject(frozen, train, test, store) -> Subject:
    return Subject(frozen, "online", "raw", train, test, "", str(store))


@pytest.mark.parametrize("side", [32, 64, 224])
def test_six_characters_lie_at_their_place(side: int):
    mark = watermark.draw_mark(side)
    assert mark.shape == (side, side)
    assert mark.min() == 0
    assert mark.max() <= 1
    rows, columns = np.nonzero(mark)
    size = int(side / 6.22)
    # From 1 % of the width on, six characters wide; one high, below 40 % of the height.
    assert 0.01 * side - 1 <= columns.min() < 0.01 * side + 0.1 * size
    assert columns.max() <= 0.01 * side + 6 * size
    assert columns.max() > 0.01 * side + 5.9 * size - 1
    assert rows.min() >= 0.4 * side
    assert 0.7 * size < rows.max() - rows.min() + 1 <= size + 1
    assert abs((rows.min() + rows.max()) / 2 - side / 2) < 0.05 * side
    # Thin lines, of which the characters repeat thrice.
    assert 0.02 < mark.sum() / (6 * size**2) < 0.3
    if side == 224:
        first = int(0.01 * side)
        pair = mark[:, first : first + 2 * size].sum()
        assert mark[:, first + 2 * size : first + 4 * size].sum() == pytest.approx(pair, rel=0.02)


def test_the_mark_makes_what_it_covers_half_white():
    image = np.full((8, 8, 3), 100, np.uint8)
    mark = np.zeros((8, 8))
    mark[2, 3], mark[4, 4] = 1, 0.5
    marked = watermark.add_mark(image, mark)
    assert (marked[2, 3] == 178).all()
    assert (marked[4, 4] == 139).all()
    assert np.sum(marked != image) == 6


def test_a_font_writes_at_the_same_place():
    """It has none of the characters, for each of which it shows a box."""
    rows, columns = np.nonzero(watermark.draw_mark(224, SANS))
    assert columns.min() < 10
    assert rows.min() >= 0.4 * 224
    with pytest.raises(UserError, match=r"no font in 'nothing.otf'"):
        watermark.draw_mark(224, "nothing.otf")


def test_gaps_are_those_of_a_case_worked_by_hand():
    labels = np.array([5, 5, 7, 7])
    clean = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    marked = np.array([[0.4, 0.6], [0.6, 0.4], [0.1, 0.9], [0.1, 0.9]])
    found = compare(clean, marked, np.array([5, 7]), labels, 7, "carton")
    assert found == pytest.approx(
        {
            "accuracy_gap": -0.25,
            "accuracy/clean": 1,
            "accuracy/watermark": 0.75,
            "probability_gap/carton": 0.2,
            "class_accuracy_gap/carton": 0,
        }
    )
    none = compare(clean, marked, np.array([5, 7]), np.full(4, 5), 7, "carton")
    assert "class_accuracy_gap/carton" not in none


def test_light_marks_take_dark_classes_for_lighter_ones(make_frozen, colorful, tmp_path):
    """One class is black and one is a third of the way to what the mark makes of it."""
    frozen = make_frozen({"data.image_size": 32})
    subject = make_subject(frozen, colorful(30, side=32), colorful(9, 1, side=32), tmp_path)
    (suite,) = suites.parse("watermark(target=green)")
    suite.check(subject)
    numbers = suite.measure(subject)
    assert next(iter(numbers)) == "accuracy_gap"
    gap = numbers["accuracy/watermark"] - numbers["accuracy/clean"]
    assert numbers["accuracy_gap"] == pytest.approx(gap)
    assert "probability_gap/green" in numbers

    # By default, the class is chosen on labeled images: other test images do not change it.
    chosen = [name for name in Watermark().measure(subject) if name.startswith("probability")]
    blue = dataclasses.replace(subject.test, class_names=("red", "green", "blue"), size=3)
    other = Watermark().measure(subject._replace(test=blue))
    assert [name for name in other if name.startswith("probability")] == chosen


def test_unknown_options_are_told(make_frozen, colorful, tmp_path):
    subject = make_subject(make_frozen(), colorful(9), colorful(9), tmp_path)
    with pytest.raises(UserError, match=r"unknown target of suite 'watermark' 'carton': choose"):
        Watermark(target="carton").check(subject)
    with pytest.raises(UserError, match=r"no font in 'x.ttf'"):
        Watermark(font="x.ttf").check(subject)
