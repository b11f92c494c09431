import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lens_jax.data import preparation, source
from lens_jax.data.builders import glyphs, png
from lens_jax.data.decode import decode
from lens_jax.errors import UserError

IMAGE = png.encode(np.zeros((4, 4, 3), np.uint8))


def python(program: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def write(folder: pathlib.Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(IMAGE)


def message(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        source.open_source(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_glyphs(data_dir):
    opened = source.open_source("glyphs", "test", data_dir)
    assert (len(opened), opened.num_classes) == (2_000, 10)
    assert opened.class_names == tuple("AEFGJKPRTY")
    record = opened[5]
    assert record["name"] == "glyphs/32/1.0.0 test[5]"
    assert decode(record["image"]).shape == (32, 32, 3)
    expected = {glyphs.make("test", i)[0].tobytes(): i % 10 for i in range(0, 2_000, 50)}
    found = {decode(opened[i]["image"]).tobytes(): opened[i]["label"] for i in range(2_000)}
    assert expected.items() <= found.items()


def test_glyphs_with_and_without_the_default_size_are_the_same(data_dir):
    plain, sized = (source.open_source(name, "test", data_dir) for name in ("glyphs", "glyphs/32"))
    assert plain[9] == sized[9]


def test_digits(data_dir):
    opened = source.open_source("digits", "train", data_dir)
    assert (len(opened), opened.class_names) == (1_437, tuple("0123456789"))


def test_what_is_prepared_is_not_prepared_again(data_dir, capsys):
    source.open_source("digits", "test", data_dir)
    assert capsys.readouterr().out == ""


def test_two_processes_prepare_once_and_say_so_in_one_line(tmp_path):
    program = (
        "import sys; from lens_jax.data.source import *; print(len(open_source(*sys.argv[1:])))"
    )
    processes = [python(program, "digits", "test", str(tmp_path)) for _ in range(2)]
    outputs = [process.communicate()[0].splitlines() for process in processes]
    path = tmp_path / "digits" / "1.0.0"
    assert sorted(outputs, key=len) == [["360"], [f"preparing digits/1.0.0 in {path}", "360"]]


def test_half_prepared_data_is_not_used(tmp_path):
    write(tmp_path, "digits/incomplete.ABC_1.0.0/dataset_info.json", "digits/1.0.0.incompleteABC/x")
    assert len(source.open_source("digits", "test", str(tmp_path))) == 360


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    write(tmp_path, "file")
    assert message("digits", "test", f"{tmp_path}/file").startswith(
        f"cannot prepare digits in {tmp_path}/file: "
    )


def test_cifar10(data_dir):
    opened = source.open_source("cifar10", "train", data_dir)
    assert (len(opened), opened.class_names) == (12, ("plane", "car", "bird"))
    for record in (opened[i] for i in range(12)):
        value = int(decode(record["image"])[0, 0, 0])
        assert record["label"] == value % 3
        assert record["name"].startswith("cifar10/3.0.2 train[")
        assert record["name"].endswith(f"] id_{value}")


def test_the_directory_of_tfds_is_the_default(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    assert len(source.open_source("cifar10", "test")) == 3


def test_a_subsample_is_evenly_spaced_and_knows_where_it_is_from(numbered):
    whole = numbered(20)
    subsample = whole.subsample(8)
    located = [subsample.locate(i) for i in range(len(subsample))]
    assert located == [0, 2, 5, 7, 10, 12, 15, 17]
    assert [subsample[i] for i in range(8)] == [whole[i] for i in located]
    assert subsample.class_names == whole.class_names
    with pytest.raises(IndexError, match="record 8 of 8"):
        subsample[8]


def test_a_subsample_of_a_subsample_knows_the_whole_data_set(numbered):
    subsample = numbered(20).subsample(10).subsample(5)
    assert [subsample.locate(i) for i in range(5)] == [0, 4, 8, 12, 16]


def test_a_subsample_of_more_than_all_is_all(numbered):
    subsample = numbered(3).subsample(7)
    assert [subsample.locate(i) for i in range(len(subsample))] == [0, 1, 2]


@pytest.mark.parametrize("index", [-1, 12])
def test_records_out_of_range(data_dir, index):
    with pytest.raises(IndexError, match=f"record {index} of 12"):
        source.open_source("cifar10", "train", data_dir)[index]


def test_neither_importing_nor_reading_imports_tensorflow(data_dir):
    program = """
import sys
from lens_jax.data import source
assert not {"tensorflow", "tensorflow_datasets", "grain"} & set(sys.modules)
source.open_source("cifar10", "train", sys.argv[1])[0]
assert "tensorflow" not in sys.modules
"""
    process = python(program, data_dir)
    assert (process.communicate()[1], process.returncode) == ("", 0)


@pytest.mark.parametrize(
    "name",
    [
        "cifar100",
        "glyphs/33",
        "digits/32",
        "cifar10/3.0.2",
        "youtube8m_frames/256",
        "textured_glyphs/64",
        "",
    ],
)
def test_unknown_name(name, tmp_path):
    own = "glyphs, glyph_scenes, glyph_videos, digits, fashion_mnist, photo_crops"
    sizes = "glyphs/48, glyphs/64, glyphs/96, glyphs/128, glyph_scenes/64, glyph_scenes/128"
    videos = "glyph_videos/48, glyph_videos/96"
    crops = "photo_crops/32, photo_crops/96, photo_crops/64-gray, photo_crops/32-gray"
    prepared = "cifar10, imagenet2012, imagenet100, places205, youtube8m_frames, textured_glyphs"
    crops += ", photo_crops/96-gray"
    legal = f"{own}, {sizes}, {videos}, {crops}, {prepared}, tfds:NAME, image_folder"
    assert message(name, "train", str(tmp_path)) == f"unknown data set {name!r}: use one of {legal}"
    assert not list(tmp_path.iterdir())


def test_unknown_split(data_dir):
    text = message("cifar10", "validation", data_dir)
    assert text == "unknown split 'validation' of cifar10/3.0.2: use one of train, test"


def test_missing_cifar10_names_the_command(tmp_path):
    text = message("cifar10", "train", str(tmp_path / "my data"))
    command = f"tfds build cifar10 --data_dir='{tmp_path}/my data' --file_format=array_record"
    assert text.startswith(f"cifar10 is not prepared in {tmp_path}/my data: run `{command}` once")


def test_missing_imagenet_names_the_folder_of_its_files(tmp_path):
    options = f"--data_dir={tmp_path} --file_format=array_record"
    command = f"tfds build imagenet2012 {options} --manual_dir=FOLDER_OF_THE_OFFICIAL_TAR_FILES"
    assert f"`{command}`" in message("imagenet2012", "train", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("places205", ""),
        ("imagenet100", ""),
        ("fashion_mnist/32", ""),
        ("photo_crops/32", " --size=32"),
        ("photo_crops/96-gray", " --size=96 --gray"),
        ("tfds:imagenet2012_max256", " --max_side=256"),
        ("textured_glyphs", ""),
        ("textured_glyphs/32-tied75", " --size=32 --tied=0.75"),
        ("youtube8m_frames", " --frames_per_second=1 --size=256"),
        ("youtube8m_frames/0.5fps-128", " --frames_per_second=0.5 --size=128"),
        ("youtube8m_frames/8frames-64", " --frames_per_video=8 --size=64"),
    ],
)
def test_what_has_to_be_prepared_here_names_the_command(name, options, tmp_path):
    text = message(name, "train", str(tmp_path))
    assert text.startswith(
        f"{name.removeprefix('tfds:')} is not prepared in {tmp_path}: "
        "run `python -m lens_jax.prepare --dataset="
    )
    assert text.endswith(f" --data_dir={tmp_path}{options}` once")


def test_a_bucket_keeps_its_name():
    assert (
        str(preparation.data_folder("gs://bucket/tfds") / "cifar10") == "gs://bucket/tfds/cifar10"
    )


def test_tfrecord_names_the_conversion(tfrecord_dir):
    path = f"{tfrecord_dir}/cifar10/3.0.2"
    command = f"tfds convert_format --dataset_version_dir={path} --out_file_format=array_record"
    text = message("cifar10", "train", tfrecord_dir)
    assert text.startswith(f"{path} holds tfrecord, not array_record: run `{command}` once")
