import os
import pathlib
import tempfile

import numpy as np
import pytest

from lens_jax.data import source
from lens_jax.data.builders import png
from lens_jax.data.records import Source
from lens_jax.errors import UserError

IMAGE = png.encode(np.zeros((4, 4, 3), np.uint8))
NOBODY = 65534


def write(folder: pathlib.Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(IMAGE)


def opened(folder: pathlib.Path, split: str = "train", classes: str = "folder") -> Source:
    return source.open_source("image_folder", split, str(folder), classes)


def found(folder: pathlib.Path, split: str = "train", classes: str = "folder") -> dict[str, str]:
    """The class of each image of a split, by its path below the folder."""
    read = opened(folder, split, classes)
    classes_by_path = {}
    for i in range(len(read)):
        record = read[i]
        path = str(pathlib.Path(record["name"]).relative_to(folder))
        classes_by_path[path] = read.class_names[record["label"]]
    return classes_by_path


def message(folder: str | pathlib.Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        source.open_source("image_folder", split, str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_are_those_of_all_splits(tmp_path):
    write(tmp_path, "train/cat/b.PNG", "train/cat/a.png", "train/dog/c.JPeG", "train/dog/._c.jpg")
    write(tmp_path, "train/dog/notes.txt", "val/ant/d.jpg", "val/dog/e.jpg", ".cache/x/f.jpg")
    assert opened(tmp_path).class_names == ("ant", "cat", "dog")
    train = {"train/cat/a.png": "cat", "train/cat/b.PNG": "cat", "train/dog/c.JPeG": "dog"}
    assert list(found(tmp_path).items()) == list(train.items())
    assert opened(tmp_path)[0]["image"] == IMAGE
    assert found(tmp_path, "val") == {"val/ant/d.jpg": "ant", "val/dog/e.jpg": "dog"}


def test_every_ending_is_listed_and_what_is_left_out_is_counted(tmp_path):
    for i in range(90):
        write(tmp_path, f"webp/{i}.webp", f"bmp/{i}.BMP")
    write(tmp_path, *[f"jpg/{i}.jpg" for i in range(4)])
    write(tmp_path, "tif/a.tif", "tif/b.tiff", "gif/a.gif", "gif/b.gif")
    write(tmp_path, "jpg/notes.txt", "jpg/Thumbs.db", "list.csv", "README")
    write(tmp_path, "__MACOSX/jpg/._0.jpg", "jpg/@eaDir/0.jpg", ".git/1.png")
    read = opened(tmp_path)
    assert read.class_names == ("bmp", "gif", "jpg", "tif", "webp")
    listed = found(tmp_path) | found(tmp_path, "held_out")
    assert len(listed) == 90 + 90 + 4 + 2 + 2
    first, second = read.notes
    assert "90 .webp" in first
    assert "90 .bmp" in first
    assert "4 .jpg" in first
    for left_out in ("4 hidden or of the system", "1 .txt", "1 .csv", "1 without an ending"):
        assert left_out in first.partition("left out")[2]
    assert "classes: 5; 167 images in train, 21 images in held_out, which training never" in second


def test_deeper_folders_are_of_the_first_or_of_their_whole_path(tmp_path):
    write(tmp_path, "train/cat/big/a.png", "train/cat/b.png", "train/dog/x/y/c.png", "test/d.png")
    first = ["cat", "cat", "dog"]
    whole = ["cat", "cat/big", "dog/x/y"]
    assert list(found(tmp_path).values()) == first
    assert list(found(tmp_path, classes="path").values()) == whole
    assert found(tmp_path, "test", "path") == {"test/d.png": "unlabeled"}
    with pytest.raises(UserError, match="unknown classes 'name': choose one of folder, path"):
        opened(tmp_path, classes="name")


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_where_there_is_nothing_to_evaluate_on_a_tenth_of_each_class_is_held_out(prefix, tmp_path):
    counts = {"a": 1, "b": 2, "c": 9, "d": 40}
    for name, count in counts.items():
        write(tmp_path, *[f"{prefix}{name}/{i:02}.png" for i in range(count)])
    train, held_out = found(tmp_path), found(tmp_path, "held_out")
    assert train.keys().isdisjoint(held_out)
    assert len(train) + len(held_out) == sum(counts.values())
    by_hand = ["b/01", "c/04", "d/05", "d/15", "d/25", "d/35"]
    assert list(held_out) == [f"{prefix}{path}.png" for path in by_hand]
    assert opened(tmp_path, "").split == "held_out"
    assert opened(tmp_path, "held_out").class_names == opened(tmp_path).class_names


@pytest.mark.parametrize("name", ["test", "validation", "val", "held_out"])
def test_nothing_is_held_out_where_a_split_to_evaluate_on_is(name, tmp_path):
    write(tmp_path, "train/a/0.png", "train/a/1.png", f"{name}/a/0.png", "other/a/0.png", "x.png")
    assert opened(tmp_path, "").split == name
    assert len(opened(tmp_path)) == 2
    assert len(opened(tmp_path, "other")) == 1
    assert opened(tmp_path).notes[1].endswith(", 1 in no split")


def test_test_comes_before_validation(tmp_path):
    write(tmp_path, "train/a/0.png", "val/a/0.png", "test/a/0.png")
    assert opened(tmp_path, "").split == "test"


def test_images_without_classes(tmp_path):
    write(tmp_path, "train/b.png", "train/a.png", "test/c.png")
    assert found(tmp_path) == {"train/a.png": "unlabeled", "train/b.png": "unlabeled"}


def test_what_only_looks_like_an_image_is_left_out(tmp_path):
    write(tmp_path, "train/cat/a.png", "train/cat/b.png", "test/cat/a.png")
    cat = tmp_path / "train/cat"
    (cat / "folder.jpg").mkdir()
    (cat / "nothing.jpg").symlink_to(tmp_path / "gone")
    (cat / "itself.jpg").symlink_to(cat / "itself.jpg")
    (cat / "back").symlink_to(tmp_path / "train")
    os.mkfifo(cat / "pipe.png")
    read = opened(tmp_path)
    assert len(read) == 2
    assert read.notes[0].endswith("3 no file, 1 links to a folder around them")
    (cat / "b.png").unlink()  # as good as one that may not be read
    assert read[1]["image"] == b""


def test_a_folder_that_is_not_there_is_named(tmp_path):
    missing = tmp_path / "missing"
    expected = "expected train/CLASS/IMAGE or CLASS/IMAGE in it"
    assert message(missing).startswith(f"no image folder at '{missing}': {expected}")
    assert message("").startswith(f"no image folder at '': {expected}")


def test_a_split_that_is_not_there_or_empty_is_named(tmp_path):
    write(tmp_path, "train/a/b.png", "val/a/b.png")
    (tmp_path / "test").mkdir()
    text = message(tmp_path, "swapped")
    assert text.startswith(f"unknown split 'swapped' of image folder {tmp_path}: use one of test")
    assert message(tmp_path, "test").startswith("no images in split 'test' of image folder")


def test_a_folder_without_images_says_what_is_in_it(tmp_path):
    write(tmp_path, "train/a/b.txt")
    assert f"no images in image folder {tmp_path}; left out: 1 .txt: " in message(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_class_without_permission_is_one_line():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        write(folder, "a/0.png", "b/0.png")
        (folder / "b").chmod(0)
        os.seteuid(NOBODY)
        try:
            text = message(folder)
        finally:
            os.seteuid(0)
    assert text.startswith(f"cannot read {folder}/b/: Permission denied; permit reading it")


def test_the_fingerprint_is_that_of_names_sizes_and_classes(tmp_path):
    write(tmp_path / "one", "train/a/0.png", "train/b/0.png", "test/a/0.png")
    one = opened(tmp_path / "one").fingerprint
    (tmp_path / "one").rename(tmp_path / "moved")
    assert opened(tmp_path / "moved").fingerprint == one
    assert opened(tmp_path / "moved", "test").fingerprint != one

    # Another size, a renamed class, a class of another split that moves no label, one more image.
    (tmp_path / "moved/train/b/0.png").write_bytes(IMAGE + b" ")
    resized = opened(tmp_path / "moved").fingerprint
    (tmp_path / "moved/train/b").rename(tmp_path / "moved/train/c")
    renamed = opened(tmp_path / "moved").fingerprint
    write(tmp_path / "moved", "test/z/0.png")
    new_class = opened(tmp_path / "moved").fingerprint
    write(tmp_path / "moved", "train/a/1.png")
    added = opened(tmp_path / "moved").fingerprint
    assert len({one, resized, renamed, new_class, added}) == 5
