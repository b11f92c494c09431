from collections import Counter

import pytest

from lens_jax.audit import folder as folders
from lens_jax.audit.folder import choose_images, open_folder
from lens_jax.errors import UserError


def make(root, *paths: str) -> str:
    """Writes files, each with its own path in it, which are no images but for their names."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    return str(root)


def test_labels_are_the_class_folders_below_the_splits(tmp_path):
    made = make(tmp_path, "train/cat/1.png", "train/dog/a/2.png", "test/cat/3.png", "train/4.png")
    found = open_folder(made)
    labels = dict(zip(found.paths, found.labels, strict=True))
    assert labels["train/cat/1.png"] == labels["test/cat/3.png"] == "cat"
    assert labels["train/dog/a/2.png"] == "dog"
    assert labels["train/4.png"] == ""
    assert sorted(found.splits) == ["test", "train", "train", "train"]
    assert found.labeled_by == "the class folders"


@pytest.mark.parametrize(
    ("paths", "labels", "labeled_by"),
    [
        (("all/x/1.png", "all/y/2.png"), ["all/x", "all/y"], "the folders"),
        (("test/1.png", "train/2.png"), ["test", "train"], "the folders of the splits"),
        (("1.png", "2.png"), ["", ""], ""),
    ],
)
def test_without_class_folders_other_folders_are_labels(tmp_path, paths, labels, labeled_by):
    found = open_folder(make(tmp_path, *paths))
    assert (found.labels, found.labeled_by) == (labels, labeled_by)


def test_labels_of_a_file_count_and_what_does_not_fit_is_said(tmp_path):
    made = make(tmp_path / "images", "1.png", "2.png", "3.png")
    labels = tmp_path / "labels.csv"
    labels.write_text('\ufefffile,label\n1.png,cat\n./2.png,"a, dog"\ngone.png,cat\n')
    found = open_folder(made, str(labels))
    assert found.labels == ["cat", "a, dog", ""]
    assert "1 files that are not there, such as gone.png" in found.notes[0]
    assert found.notes[1].startswith("1 images have no label")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1.png,cat\n", "file,label"),
        (b"", "file,label"),
        (b"file,label\nx.png,cat\n", "names none of the images: it names 'x.png'"),
        (b"file,label\n1.png\n", "line 2"),
        (b"file,label\n\xff\xfe,cat\n", "no CSV"),
        (b'file,label\n"1.png,cat\n', "no CSV"),
    ],
)
def test_a_wrong_file_of_labels_is_one_clear_line(tmp_path, content, words):
    made = make(tmp_path / "images", "1.png")
    labels = tmp_path / "labels.csv"
    labels.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        open_folder(made, str(labels))
    assert "\n" not in str(caught.value)


def test_no_folder_no_images_and_no_file_of_labels_are_told_apart(tmp_path):
    made = make(tmp_path / "images", "1.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no folder at"):
        open_folder(f"{made}/1.png")
    with pytest.raises(UserError, match="no images in"):
        open_folder(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="cannot read"):
        open_folder(made, str(tmp_path / "none.csv"))


def test_as_many_of_each_class_are_chosen_and_only_of_the_largest(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MAX_IMAGES", 12)
    monkeypatch.setattr(folders, "MAX_CLASSES", 3)
    sizes = {"a": 9, "b": 2, "c": 7, "d": 3}
    paths = [f"{name}/{number}.png" for name, size in sizes.items() for number in range(size)]
    found = open_folder(make(tmp_path, *paths))
    chosen = choose_images(found, seed=0)
    assert sorted(chosen) == chosen.tolist()
    assert Counter(found.labels[index] for index in chosen) == {"a": 5, "c": 4, "d": 3} or Counter(
        found.labels[index] for index in chosen
    ) == {"a": 4, "c": 5, "d": 3}
    assert chosen.tolist() != choose_images(found, seed=1).tolist()


def test_a_file_that_changes_changes_the_fingerprint(tmp_path):
    made = make(tmp_path, "a/1.png", "b/2.png")
    before = open_folder(made).fingerprint
    assert open_folder(made).fingerprint == before
    (tmp_path / "a/1.png").write_text("a/2.png")
    assert open_folder(made).fingerprint != before
