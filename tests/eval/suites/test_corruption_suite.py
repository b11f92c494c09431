import dataclasses

import numpy as np
import pytest
from PIL import Image

from lens_jax.data import decode
from lens_jax.data.corruptions import NAMES, SEVERITIES, corrupt
from lens_jax.errors import UserError
from lens_jax.eval import logistic, suites
from lens_jax.eval.altered import alter
from lens_jax.eval.classes import match_classes
from lens_jax.eval.features import make_features
from lens_jax.eval.suites.base import Subject
from lens_jax.eval.suites.corruptions import ALEXNET_ERRORS, Corruptions, summarize


def make_subject(frozen, train, test, store) -> Subject:
    return Subject(frozen, "online", "raw", train, test, "", str(store))


@pytest.mark.parametrize("crop", ["central", "none"])
def test_an_evaluation_crops_the_changed_image_pixel_by_pixel(tiny_config, colorful, crop: str):
    data = tiny_config({"data.eval_crop": crop, "data.image_size": 24}).data
    source = colorful(5, side=40, broken=(2,))
    seen = {}

    def change(image: np.ndarray, index: int) -> np.ndarray:
        seen[index] = image
        return 255 - image

    altered = alter(source, data, change, ("inverted",))
    cut = decode.central_crop_resize if crop == "central" else decode.resize
    for index in (0, 1, 3, 4):
        record = altered[index]
        assert record["label"] == source[index]["label"]
        np.testing.assert_array_equal(seen[index], cut(source[index]["image"], 24))
        np.testing.assert_array_equal(cut(record["image"], 24), 255 - seen[index])
    # What does not decode is left to be skipped.
    assert altered[2]["image"] == source[2]["image"]


def test_other_changes_sizes_and_crops_have_other_fingerprints(tiny_config, colorful):
    source = colorful(5)
    found = set()
    for size in (16, 24):
        for crop in ("central", "none"):
            data = tiny_config({"data.eval_crop": crop, "data.image_size": size}).data
            for word in ("fog", "snow"):
                found.add(alter(source, data, lambda image, _: image, (word,)).fingerprint)
    assert len(found) == 8
    assert source.fingerprint not in found


def test_part_of_a_split_is_corrupted_as_in_the_whole_split(tiny_config, colorful):
    data = tiny_config().data
    indices = []

    def change(image: np.ndarray, index: int) -> np.ndarray:
        indices.append(index)
        return image

    altered = alter(colorful(10).subsample(5), data, change, ())
    _ = [altered[index] for index in range(5)]
    assert indices == [0, 2, 4, 6, 8]


def test_the_accuracy_is_that_of_corrupting_all_images_by_hand(make_frozen, colorful, tmp_path):
    """Noise hides the color of a few images, contrast of none: the classifier sees both."""
    frozen = make_frozen({"data.image_size": 16})
    train, test = colorful(30, side=16), colorful(12, seed=1, side=16)
    subject = make_subject(frozen, train, test, tmp_path)
    suite = Corruptions(names=("gaussian_noise", "contrast"), severities=(1, 5))
    suite.check(subject)
    numbers = suite.measure(subject)

    (tap,) = subject.taps[-1:]
    compute = make_features(frozen, "raw", (tap,))
    rows = subject.rows(train)
    classifier = logistic.fit(rows.taps[tap], rows.labels, suite.c)
    for name in suite.names:
        for severity in suite.severities:
            images = [decode.central_crop_resize(test[i]["image"], 16) for i in range(12)]
            images = [corrupt(image, name, severity, i) for i, image in enumerate(images)]
            features = compute(frozen.state, np.stack(images))[tap]
            hits = logistic.predict(classifier, np.asarray(features)) == np.arange(12) % 3
            assert numbers[f"accuracy/{name}/{severity}"] == pytest.approx(hits.mean())


def test_the_mean_corruption_error_is_relative_to_alexnet_and_asks_for_everything():
    rng = np.random.default_rng(0)
    accuracies = {name: {s: rng.random() for s in SEVERITIES} for name in NAMES}
    found = summarize(0.9, accuracies, against_alexnet=True)
    assert list(found)[:2] == ["accuracy", "accuracy/clean"]
    total = 0.0
    for name in NAMES:
        errors = sum(1 - accuracies[name][severity] for severity in SEVERITIES)
        total += errors / (5 * ALEXNET_ERRORS[name])
    assert found["mean_corruption_error"] == pytest.approx(total / 15)
    every = [accuracy for each in accuracies.values() for accuracy in each.values()]
    assert found["accuracy"] == pytest.approx(np.mean(every))
    assert found["accuracy_drop"] == pytest.approx(1 - np.mean(every) / 0.9)

    assert "mean_corruption_error" not in summarize(0.9, accuracies, against_alexnet=False)
    del accuracies["fog"][3]
    assert "mean_corruption_error" not in summarize(0.9, accuracies, against_alexnet=True)


def test_alexnet_has_itself_a_mean_corruption_error_of_one():
    accuracies = {name: dict.fromkeys(SEVERITIES, 1 - ALEXNET_ERRORS[name]) for name in NAMES}
    found = summarize(0.565, accuracies, against_alexnet=True)
    assert found["mean_corruption_error"] == pytest.approx(1)


def test_corrupted_images_may_be_those_of_a_folder(make_frozen, colorful, tmp_path):
    """Two images of red, both shown as such; none of them is called by another name."""
    subject = make_subject(make_frozen(), colorful(30), colorful(6), tmp_path / "store")
    for severity in (1, 2):
        folder = tmp_path / "c" / "fog" / str(severity) / "red"
        folder.mkdir(parents=True)
        color = (230, 30, 30) if severity == 1 else (40, 40, 225)
        Image.new("RGB", (16, 16), color).save(folder / "one.png")
    suite = Corruptions(names=("fog",), severities=(1, 2), images=str(tmp_path / "c"))
    numbers = suite.measure(subject)
    assert numbers["accuracy/fog/1"] == 1
    assert numbers["accuracy/fog/2"] == 0
    assert len(suite.sources(subject)["corrupted"]) == 2

    (tmp_path / "c" / "fog" / "1" / "violet").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "c" / "fog" / "1" / "violet" / "one.png")
    with pytest.raises(UserError, match=r"1 classes of .*, such as violet, are none of"):
        suite.measure(subject)
    with pytest.raises(UserError, match=r"no images in '.*c/snow/1': expected CLASS/IMAGE"):
        Corruptions(names=("snow",), images=str(tmp_path / "c")).sources(subject)


def test_classes_are_matched_by_their_names(colorful):
    train = colorful(9)
    other = dataclasses.replace(train, class_names=("blue", "red"))
    assert match_classes(other, train).tolist() == [2, 0]


def test_unknown_options_are_told(make_frozen, colorful, tmp_path):
    subject = make_subject(make_frozen(), colorful(9), colorful(9), tmp_path)
    for text, words in (
        ("names=[rain]", "unknown corruption 'rain': choose one of gaussian_noise"),
        ("severities=6", "severity of suite 'corruptions' is 6"),
        ("names=[]", "suite 'corruptions' needs names and severities"),
        ("c=0", "c of suite 'corruptions' is 0"),
    ):
        (suite,) = suites.parse(f"corruptions({text})")
        with pytest.raises(UserError, match=words):
            suite.check(subject)


def test_the_page_has_a_row_for_each_corruption():
    suite = Corruptions(names=("fog", "snow"), severities=(1, 5))
    accuracies = {"fog": {1: 0.5, 5: 0.25}, "snow": {1: 0.75, 5: 0.125}}
    short, table = suite.tell(summarize(0.8, accuracies, against_alexnet=False))
    assert "<td>snow</td><td>43.75%</td><td>75.00%</td><td>12.50%</td>" in table
    assert "80.00%" in short
    assert "fog" not in short
