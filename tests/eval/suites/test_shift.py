import dataclasses

import numpy as np
import pytest
from PIL import Image

from lens_jax.errors import UserError
from lens_jax.eval import suites
from lens_jax.eval.logistic import Classifier
from lens_jax.eval.suites.base import Subject
from lens_jax.eval.suites.shift import Shift, restricted_accuracy


def test_a_class_that_is_not_allowed_is_never_chosen():
    """The logits are the features: in the third row the best class is none of the set."""
    classifier = Classifier(np.array([0, 4, 7]), np.zeros(3), np.ones(3), np.eye(3), np.zeros(3))
    features = np.array([[3, 1, 0], [0, 2, 1], [1, 0, 3], [0, 1, 2]], np.float32)
    labels = np.array([0, 4, 0, 0])
    assert restricted_accuracy(classifier, features, labels, np.array([0, 4, 7])) == 0.5
    assert restricted_accuracy(classifier, features, labels, np.array([0, 4])) == 0.75
    assert restricted_accuracy(classifier, features, labels, np.array([0])) == 0.75


def test_folders_are_compared_with_test_images_of_their_classes(make_frozen, colorful, tmp_path):
    """Two sets of two classes: one shows what its names say, the other the opposite."""
    subject = Subject(
        make_frozen(), "online", "raw", colorful(30), colorful(12, 1), "", str(tmp_path / "store")
    )
    colors = {"blue": (40, 40, 225), "red": (230, 30, 30)}
    for name, shown, side in (("same", ("blue", "red"), 16), ("swapped", ("red", "blue"), 20)):
        for label, color in zip(colors, shown, strict=True):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            Image.new("RGB", (side, side), colors[color]).save(folder / "one.png")
    same, swapped = str(tmp_path / "same"), str(tmp_path / "swapped")
    (suite,) = suites.parse(f"shift(sets=[{same},{swapped}])")
    suite.check(subject)
    numbers = suite.measure(subject)
    assert numbers["accuracy/test"] == 1
    assert numbers[f"accuracy/{same}"] == 1
    assert numbers[f"accuracy/{swapped}"] == 0
    assert numbers["accuracy"] == 0.5
    assert numbers[f"accuracy_gap/{swapped}"] == -1
    assert set(suite.sources(subject)) == {"train", "test", same, swapped}


def test_sets_with_other_classes_or_none_are_told(make_frozen, colorful, tmp_path):
    source = colorful(9)
    subject = Subject(make_frozen(), "online", "raw", source, source, "", str(tmp_path / "store"))
    with pytest.raises(UserError, match=r"needs sets, such as shift\(sets="):
        Shift().check(subject)
    with pytest.raises(UserError, match="unknown data set 'nowhere'"):
        Shift(sets=("nowhere",)).check(subject)
    (tmp_path / "set" / "violet").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "set" / "violet" / "one.png")
    with pytest.raises(UserError, match="such as violet, are none of"):
        Shift(sets=(str(tmp_path / "set"),)).check(subject)
    unlabeled = dataclasses.replace(source, class_names=("unlabeled",))
    with pytest.raises(UserError, match="suite 'shift' needs labels"):
        Shift(sets=("x",)).check(subject._replace(train=unlabeled))
