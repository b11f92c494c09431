"""Boxes as examples, against cases worked out by hand."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath

from lens_jax.data.annotations import find_annotations
from lens_jax.data.batches import Skipped, eval_batches, train_batches
from lens_jax.data.records import Source
from lens_jax.data.regions import Box, Region, find_box, overlap
from lens_jax.data.selection import Selection
from lens_jax.data.source import open_source
from lens_jax.data.tfds_table import open_table
from lens_jax.errors import UserError
from tests.data import boxed

# Image 0 has two boxes, image 1 none, image 2 one of no area before a real one, image 3 one.
IMAGES = [
    [(0, 0, 5, 5, "cat"), (2, 1, 10, 9, "dog")],
    [],
    [(4, 4, 4, 9, "cup"), (5, 0, 10, 10, "dog")],
    [(0, 5, 10, 10, "cup")],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("zoo")
    boxed.write_coco(folder, IMAGES)
    boxed.write_voc(folder, IMAGES)
    return folder


def opened(folder: pathlib.Path, boxes: str, name: str = "tfds:zoo") -> Source:
    return open_source(name, "train", str(folder), selection=Selection(boxes))


def rows(source: Source, **options) -> dict[str, np.ndarray]:
    """One pass over a source, at 20 px."""
    read = eval_batches(
        source, Skipped(source), **{"batch_size": 1, "image_size": 20, "crop": "none"} | options
    )
    batches = list(read)
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def shown(source: Source) -> list[tuple[int, str, tuple[int, ...] | None]]:
    """The number of each example's image, which is in its name, its class and its box in tenths."""
    found = []
    for index in range(len(source)):
        record = source[index]
        region = record.get("region")
        tenths = None if region is None else tuple(round(10 * edge) for edge in region)
        number = int(record["name"].split("] ")[1].split(".")[0])
        found.append((number, source.class_names[record["label"]], tenths))
    return sorted(found, key=str)


@pytest.mark.parametrize("name", ["tfds:zoo", "tfds:voc"])
def test_examples_are_images_boxes_or_the_largest_boxes(folder, name):
    assert shown(opened(folder, "none", name)) == [
        (0, "dog", None),
        (2, "dog", None),
        (3, "cup", None),
    ]
    assert shown(opened(folder, "each", name)) == [
        (0, "cat", (0, 0, 5, 5)),
        (0, "dog", (2, 1, 10, 9)),
        (2, "dog", (5, 0, 10, 10)),
        (3, "cup", (0, 5, 10, 10)),
    ]
    assert shown(opened(folder, "largest", name)) == [
        (0, "dog", (2, 1, 10, 9)),
        (2, "dog", (5, 0, 10, 10)),
        (3, "cup", (0, 5, 10, 10)),
    ]


def test_what_is_left_out_is_counted(folder):
    (note,) = opened(folder, "each").notes
    assert "4 examples: 4 boxes in 3 images" in note
    assert "left out: 1 images without a box, 1 boxes of no area" in note


def test_a_box_is_cut_before_it_is_resized(folder):
    source = opened(folder, "each")
    images = rows(source)["image"]
    for index in range(len(source)):
        top, left, bottom, right = source[index]["region"]
        # The pictures are 20 px high and 40 px wide, and say in green and blue where a pixel was.
        height, width = round(20 * (bottom - top)), round(40 * (right - left))
        down = top * 20 + (np.arange(20) + 0.5) * height / 20 - 0.5
        across = left * 40 + (np.arange(20) + 0.5) * width / 20 - 0.5
        expected = (
            np.clip(down, 20 * top, 20 * bottom - 1),
            np.clip(across, 40 * left, 40 * right - 1),
        )
        np.testing.assert_allclose(images[index, :, 0, 1], expected[0], atol=1)
        np.testing.assert_allclose(images[index, 0, :, 2], expected[1], atol=1)


@pytest.mark.parametrize("crop", ["central", "random"])
def test_crops_stay_inside_the_box(folder, crop):
    source = opened(folder, "largest")
    options = {"batch_size": 1, "image_size": 8, "crop": crop}
    if crop == "random":
        reader = train_batches(source, Skipped(source), seed=0, **options)
        read = [next(reader) for _ in range(60)]
    else:
        read = list(eval_batches(source, Skipped(source), **options))
    for batch in read:
        top, left, bottom, right = source[int(batch["index"][0])]["region"]
        down, across = batch["image"][0, ..., 1], batch["image"][0, ..., 2]
        # Stored as float32.
        assert round(20 * top) <= down.min() <= down.max() < round(20 * bottom)
        assert round(40 * left) <= across.min() <= across.max() < round(40 * right)


def test_pixels_of_a_region_by_hand():
    assert find_box(Region(0, 0, 1, 1), 7, 5) == Box(0, 0, 7, 5)
    assert find_box(Region(0.25, 0.5, 0.75, 1), 8, 4) == Box(2, 2, 4, 2)
    assert find_box(Region(0.1, 0.1, 0.9, 0.9), 10, 100) == Box(1, 10, 8, 80)
    # Less than a pixel is one pixel, also at the lower right edge.
    assert find_box(Region(0.5, 0.5, 0.51, 0.51), 10, 10) == Box(5, 5, 1, 1)
    assert find_box(Region(0.99, 0.999, 1, 1), 10, 10) == Box(9, 9, 1, 1)


def test_overlap_by_hand():
    whole = Region(0, 0, 1, 1)
    assert overlap(whole, whole) == 1
    assert overlap(Region(0, 0, 0.5, 0.5), Region(0.5, 0.5, 1, 1)) == 0
    assert overlap(Region(0, 0, 0.5, 1), Region(0, 0, 1, 0.5)) == pytest.approx(1 / 3)


def test_boxes_are_found_once_and_kept(folder, tmp_path, capsys):
    boxed.write_coco(tmp_path, IMAGES)
    first = opened(tmp_path, "each")
    assert capsys.readouterr().out.count("reading boxes and frames of all 4 records") == 1
    kept = tmp_path / "zoo" / "1.0.0" / "annotations-train.json"
    assert kept.exists()
    again = opened(tmp_path, "each")
    assert capsys.readouterr().out == ""
    assert shown(first) == shown(again) == shown(opened(folder, "each"))


def test_where_nothing_can_be_kept_they_are_found_all_the_same(folder, tmp_path, caplog):
    table = open_table(epath.Path(folder / "zoo" / "1.0.0"), "train")
    nowhere = dataclasses.replace(table, path=epath.Path(tmp_path / "missing"))
    with caplog.at_level(logging.WARNING):
        found = find_annotations(nowhere)
    assert "cannot keep what was found" in caplog.text
    assert sorted(found.counts.tolist()) == [0, 1, 1, 2]
    assert found.empty == 1
    assert len(found.videos) == len(found.frames) == 0


def test_every_selection_is_other_data(folder):
    prints = {opened(folder, boxes).fingerprint for boxes in ("none", "each", "largest")}
    assert len(prints) == 3


def test_one_box_an_image_takes_the_label_of_the_image(tmp_path):
    features = {
        "image": boxed.IMAGE,
        "label": tfds.features.ClassLabel(names=["even", "odd"]),
        "bbox": tfds.features.BBoxFeature(),
    }
    edges = tfds.features.BBox(ymin=0.5, xmin=0.0, ymax=1.0, xmax=0.5)
    examples = [
        {"image": boxed.picture(number), "label": number % 2, "bbox": edges} for number in range(3)
    ]
    boxed.write(tmp_path, "birds", features, examples)
    whole = opened(tmp_path, "none", "tfds:birds")
    for boxes in ("each", "largest"):
        source = opened(tmp_path, boxes, "tfds:birds")
        assert source.class_names == ("even", "odd")
        assert len(source) == len(whole) == 3
        for index in range(3):
            assert source[index]["label"] == whole[index]["label"]
            assert source[index]["region"] == Region(0.5, 0.0, 1.0, 0.5)


def test_images_with_a_class_of_their_own_keep_it_as_scenes(tmp_path):
    features = {
        "image": boxed.IMAGE,
        "label": tfds.features.ClassLabel(names=["even", "odd"]),
        "objects": tfds.features.Sequence(boxed.COCO),
    }
    examples = []
    for number, objects in enumerate(IMAGES):
        stored = boxed.objects_of(objects, area=1, id=7, is_crowd=False)
        examples.append({"image": boxed.picture(number), "label": number % 2, "objects": stored})
    boxed.write(tmp_path, "farm", features, examples)
    scenes = opened(tmp_path, "none", "tfds:farm")
    assert (len(scenes), scenes.class_names) == (4, ("even", "odd"))
    cut = opened(tmp_path, "each", "tfds:farm")
    assert (len(cut), cut.class_names) == (4, ("cat", "dog", "cup"))


def message(folder: pathlib.Path, name: str, boxes: str) -> str:
    with pytest.raises(UserError) as caught:
        opened(folder, boxes, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_data_without_boxes_is_refused(tmp_path):
    boxed.write_coco(tmp_path, [[], []], "empty")
    assert message(tmp_path, "tfds:empty", "each").startswith(
        "none of the 2 images of empty/1.0.0 train has a box"
    )
    boxed.write(tmp_path, "plain", {"image": boxed.IMAGE}, [{"image": boxed.picture(0)}])
    assert "plain/1.0.0 has no boxes: set data.boxes" in message(tmp_path, "tfds:plain", "each")
    boxed.write(
        tmp_path,
        "pixels",
        {"image": boxed.IMAGE, "bbox": tfds.features.BBoxFeature(bbox_format="XYXY")},
        [{"image": boxed.picture(0), "bbox": np.array([0.0, 0.0, 9.0, 9.0])}],
    )
    assert "pixels/1.0.0 has no boxes" in message(tmp_path, "tfds:pixels", "each")
    assert message(tmp_path, "image_folder", "each").startswith("image_folder has no boxes")


def read_epochs(source: Source, count: int, skip: int = 0, **options) -> list[dict]:
    reader = train_batches(
        source,
        Skipped(source),
        **{"batch_size": 4, "image_size": 8, "crop": "random", "seed": 3, "threads": 2} | options,
    )
    if skip:
        reader_before = train_batches(
            source,
            Skipped(source),
            **{"batch_size": 4, "image_size": 8, "crop": "random", "seed": 3, "threads": 2}
            | options,
        )
        for _ in range(skip):
            next(reader_before)
        reader.set_state(reader_before.get_state())
    return [next(reader) for _ in range(count)]


def assert_same(ones: Sequence[dict], others: Sequence[dict]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_every_box_comes_once_an_epoch_and_reading_goes_on_exactly(folder):
    source = opened(folder, "each")
    batches = read_epochs(source, 6)
    for batch in batches:
        assert sorted(batch["index"].tolist()) == [0, 1, 2, 3]
        labels = [source[index]["label"] for index in batch["index"].tolist()]
        assert batch["label"].tolist() == labels
    assert_same(read_epochs(source, 3, skip=3), batches[3:])


def test_two_processes_read_the_rows_of_one(folder):
    source = opened(folder, "each")
    one = read_epochs(source, 4)
    parts = [read_epochs(source, 4, shard=shard, shards=2) for shard in range(2)]
    joined = []
    for first, second in zip(*parts, strict=True):
        joined.append({key: np.concatenate([first[key], second[key]]) for key in first})
    assert_same(joined, one)
