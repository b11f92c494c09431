"""Any data set that TFDS prepared, by its name."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lens_jax.data import tfds_records
from lens_jax.data.builders import png
from lens_jax.data.decode import decode
from lens_jax.data.records import UNLABELED, Source
from lens_jax.data.source import open_source
from lens_jax.errors import UserError

IMAGE = tfds.features.Image(shape=(None, None, 3))
LABEL = tfds.features.ClassLabel(names=["even", "odd"])


def picture(value: int) -> bytes:
    return png.encode(np.full((6, 8, 3), value, np.uint8))


def prepare(
    folder: pathlib.Path,
    name: str,
    features: dict[str, Any],
    example: Callable[[int], dict[str, Any]],
    version: str = "1.0.0",
    config: str = "",
    file_format: str = "array_record",
) -> None:
    """Writes a data set of five examples under any name, with any features."""

    class Any_(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # noqa: N801
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index in range(5):
                yield index, example(index)

    Any_.name = name
    Any_(data_dir=folder, file_format=file_format).download_and_prepare()


def labeled(index: int) -> dict[str, Any]:
    return {"image": picture(index), "label": index % 2}


def message(name: str, folder: pathlib.Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        open_source(name, split, str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(source: Source) -> set[tuple[int, int]]:
    records = [source[index] for index in range(len(source))]
    return {(int(decode(record["image"])[0, 0, 0]), record["label"]) for record in records}


LABELS = {(index, index % 2) for index in range(5)}


def test_images_and_labels_are_found_by_their_type(tmp_path):
    features = {"picture": IMAGE, "kind": LABEL, "weight": tfds.features.Scalar(np.float32)}
    prepare(
        tmp_path,
        "moths",
        features,
        lambda index: {"picture": picture(index), "kind": index % 2, "weight": 0.5},
    )
    source = open_source("tfds:moths", "train", str(tmp_path))
    assert source.class_names == ("even", "odd")
    assert contents(source) == LABELS
    assert source[3]["name"] == "moths/1.0.0 train[3]"
    assert not source.upright


def test_versions_and_ways_of_preparing(tmp_path):
    features = {"image": IMAGE, "label": LABEL}
    prepare(tmp_path, "birds", features, labeled, config="64px-v2")
    source = open_source("tfds:birds", "train", str(tmp_path))
    assert source[0]["name"] == "birds/64px-v2/1.0.0 train[0]"
    prepare(tmp_path, "birds", features, labeled, config="64px-v2", version="2.0.0")
    names = [
        open_source(name, "train", str(tmp_path))[0]["name"]
        for name in ("tfds:birds/64px-v2", "tfds:birds/64px-v2:1.0.0", "tfds:birds:2.0.0")
    ]
    numbers = ("2.0.0", "1.0.0", "2.0.0")
    assert names == [f"birds/64px-v2/{number} train[0]" for number in numbers]
    assert "no version 3.0.0 of birds" in message("tfds:birds:3.0.0", tmp_path)
    assert "use one of 1.0.0, 2.0.0" in message("tfds:birds:3.0.0", tmp_path)

    prepare(tmp_path, "birds", features, labeled, config="full")
    text = message("tfds:birds", tmp_path)
    assert text == (
        f"birds is prepared in 2 ways in {tmp_path}: use one of birds/64px-v2, birds/full"
    )


def test_several_candidates_are_named_and_one_can_be_chosen(tmp_path):
    features = {"before": IMAGE, "after": IMAGE, "fine": LABEL, "coarse": LABEL}

    def example(index: int) -> dict[str, Any]:
        return {
            "before": picture(index),
            "after": picture(100 + index),
            "fine": index % 2,
            "coarse": 0,
        }

    prepare(tmp_path, "pairs", features, example)
    text = message("tfds:pairs", tmp_path)
    assert "pairs/1.0.0 has 2 image features, after, before: add one to the name" in text
    text = message("tfds:pairs,image=after", tmp_path)
    assert "2 label features, coarse, fine" in text
    chosen = open_source("tfds:pairs,image=after,label=fine", "train", str(tmp_path))
    assert contents(chosen) == {(100 + index, label) for index, label in LABELS}
    text = message("tfds:pairs,image=middle", tmp_path)
    assert text == "pairs/1.0.0 has no image feature 'middle': use one of after, before"


def test_sets_without_labels_have_one_class(tmp_path):
    prepare(tmp_path, "plain", {"image": IMAGE}, lambda index: {"image": picture(index)})
    source = open_source("tfds:plain", "train", str(tmp_path))
    assert source.class_names == (UNLABELED,)
    assert contents(source) == {(index, 0) for index in range(5)}


def test_sets_without_images_are_refused(tmp_path):
    prepare(tmp_path, "words", {"label": LABEL}, lambda index: {"label": index % 2})
    assert message("tfds:words", tmp_path).startswith("words/1.0.0 has no images of 8 or 16 bits")


def test_other_splits_formats_and_sets_are_refused_with_the_command(tmp_path):
    features = {"image": IMAGE, "label": LABEL}
    prepare(tmp_path, "moths", features, labeled, file_format="tfrecord")
    text = message("tfds:moths", tmp_path)
    assert f"`tfds convert_format --dataset_version_dir={tmp_path}/moths/1.0.0" in text
    text = message("tfds:stl10", tmp_path)
    command = f"tfds build stl10 --data_dir={tmp_path} --file_format=array_record"
    assert f"stl10 is not prepared in {tmp_path}: run `{command}` once" in text
    prepare(tmp_path, "birds", features, labeled)
    assert message("tfds:birds", tmp_path, "test").endswith(": use one of train")


@pytest.mark.parametrize(
    "name",
    ["tfds:", "tfds:../moths", "tfds:a/..", "tfds:a/b/c", "tfds:/etc", "tfds:a:1", "tfds:a,b=c"],
)
def test_names_of_another_form_are_refused(name: str, tmp_path):
    assert message(name, tmp_path).startswith(
        f"{name!r} names no TFDS data set: expected tfds:NAME"
    )


def test_names_say_what_they_mean():
    parse = tfds_records.parse
    assert parse("tfds:cifar100,label=coarse_label") == ("cifar100", "", "", "coarse_label")
    assert parse("tfds:imagenette/320px-v2:1.0.0") == ("imagenette/320px-v2", "1.0.0", "", "")
