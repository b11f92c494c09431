import pathlib

import numpy as np
import pytest
import simplejpeg

from lens_jax.data import preparation, source
from lens_jax.data.builders import places205
from lens_jax.errors import UserError

CLASSES = ("abbey", "field/wild", "yard")


def image(index: int) -> bytes:
    return simplejpeg.encode_jpeg(np.full((8, 8, 3), index, np.uint8))


def line(index: int, split: str) -> str:
    label = index % 3
    name = CLASSES[label]
    return f"{name[0]}/{name}/{split}_{index}.jpg {label}"


def path(index: int, split: str) -> str:
    return line(index, split).split()[0]


def write(
    folder: pathlib.Path, train: int = 9, lists: str = places205.LISTS_FOLDER
) -> pathlib.Path:
    """A release of `train` + 3 images."""
    (folder / lists).mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("val", 3)):
        lines = [line(index, split) + "\n" for index in range(count)]
        (folder / lists / f"{split}_places205.csv").write_text("".join(lines))
        for index in range(count):
            file = folder / places205.IMAGES / path(index, split)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image(index))
    return folder


def refuse(folder: pathlib.Path, data: pathlib.Path) -> str:
    with pytest.raises(UserError) as caught:
        places205.prepare(str(folder), str(data))
    assert "\n" not in str(caught.value)
    assert not data.exists()
    return str(caught.value)


def read(data: pathlib.Path, split: str) -> dict[str, tuple[bytes, int]]:
    opened = source.open_source("places205", split, str(data))
    assert opened.class_names == CLASSES
    found = {}
    for index in range(len(opened)):
        record = opened[index]
        file_name = record["name"].split()[-1]
        found[file_name] = (record["image"], record["label"])
    return found


@pytest.mark.parametrize("lists", [places205.LISTS_FOLDER, "."])
def test_images_are_stored_as_they_are_with_the_labels_of_the_lists(lists, tmp_path, capsys):
    folder = write(tmp_path / "release", lists=lists)
    places205.prepare(str(folder), str(tmp_path / "data"))
    for split, name, count in (("train", "train", 9), ("validation", "val", 3)):
        expected = {path(i, name): (image(i), i % 3) for i in range(count)}
        assert read(tmp_path / "data", split) == expected
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{tmp_path}/data/places205/1.0.0 holds 9 in train, 3 in validation"


def test_a_few_missing_images_are_skipped_and_named_in_one_line(tmp_path, capsys):
    folder = write(tmp_path / "release", train=200)
    missing = [path(index, "train") for index in (4, 9)]
    for each in missing:
        (folder / places205.IMAGES / each).unlink()
    places205.prepare(str(folder), str(tmp_path / "data"))
    lines = capsys.readouterr().out.splitlines()
    named = [text for text in lines if text.startswith("skipped")]
    start = "skipped 2 of the 200 images that train_places205.csv names"
    assert len(named) == 1
    assert named[0].startswith(start)
    assert named[0].endswith(": " + ", ".join(missing))
    found = read(tmp_path / "data", "train")
    assert len(found) == 198
    assert not found.keys() & set(missing)


def test_many_missing_images_are_refused_before_anything_is_written(tmp_path):
    folder = write(tmp_path / "release")
    (folder / places205.IMAGES / path(4, "train")).unlink()
    text = refuse(folder, tmp_path / "data")
    assert "lacks 1 of the 9 images that train_places205.csv names, more than 1%" in text
    assert path(4, "train") in text


@pytest.mark.parametrize(
    "wrong",
    [
        "../secret.jpg 0",
        "a/abbey/../../x.jpg 0",
        "/a/abbey/x.jpg 0",
        "a/x.jpg 0",
        "a/abbey/x.jpg",
        "a/b/x.jpg -1",
    ],
)
def test_a_malformed_line_or_a_path_that_leaves_the_folder_is_named(wrong, tmp_path):
    folder = write(tmp_path / "release")
    file = folder / places205.LISTS_FOLDER / "val_places205.csv"
    file.write_text(file.read_text() + wrong + "\n")
    expected = f"{file}:4: expected a line like 'a/abbey/x.jpg 0', not {wrong!r}"
    assert refuse(folder, tmp_path / "data") == expected


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("a/abbey/train_0.jpg 0", "a/abbey/train_0.jpg is there twice"),
        ("z/zoo/x.jpg 0", "label 0 to both 'abbey' and 'zoo'"),
        ("z/zoo/x.jpg 5", "no image for label 3, 4"),
        ("a/abbey/x.jpg 3", "two labels for one class"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(extra, words, tmp_path):
    folder = write(tmp_path / "release")
    file = folder / places205.LISTS_FOLDER / "train_places205.csv"
    file.write_text(file.read_text() + extra + "\n")
    assert words in refuse(folder, tmp_path / "data")


def test_a_missing_folder_or_list_is_named(tmp_path):
    assert str(tmp_path / "nowhere") in refuse(tmp_path / "nowhere", tmp_path / "data")
    folder = write(tmp_path / "release")
    (folder / places205.LISTS_FOLDER / "val_places205.csv").unlink()
    assert refuse(folder, tmp_path / "data").startswith("no val_places205.csv in ")


def test_what_is_there_is_neither_kept_silently_nor_overwritten(tmp_path):
    folder = write(tmp_path / "release")
    data = tmp_path / "data"
    places205.prepare(str(folder), str(data))
    before = modified(data / "places205")
    with pytest.raises(UserError, match="is there already"):
        places205.prepare(str(folder), str(data))
    assert modified(data / "places205") == before


def modified(folder: pathlib.Path) -> dict[pathlib.Path, int]:
    """When each file in a folder was last written."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_nothing_stays_when_preparing_breaks_off(tmp_path):
    folder, data = write(tmp_path / "release"), tmp_path / "data"
    file = folder / places205.LISTS_FOLDER / "train_places205.csv"
    vanished = places205.Entry("a/abbey/vanished.jpg", 0)
    entries = {"train": [*places205.read_list(file), vanished]}
    builder = places205.Places205(
        images=folder / places205.IMAGES,
        entries=entries,
        class_names=list(CLASSES),
        data_dir=data,
        file_format="array_record",
    )
    with pytest.raises(UserError, match=r"cannot prepare places205 in .*vanished\.jpg"):
        preparation.prepare(builder)
    left = [file.name for file in data.rglob("*") if file.is_file()]
    assert left == [".places205.lock"]
