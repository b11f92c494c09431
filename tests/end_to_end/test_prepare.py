import time

import pytest

from ..clips import write_clip
from ..idx import write as write_release
from .commands import command, run, succeed

FRAMES = "--dataset=youtube8m_frames"


def refuse(*options: str, fresh: bool = False) -> str:
    """Runs the command, which must fail with one line, and gives the line."""
    result = run(*command("prepare", *options), fresh=fresh)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_help_answers_at_once():
    began = time.monotonic()
    text = succeed(*command("prepare", "--help"), fresh=True)
    assert time.monotonic() - began < 5
    assert "python -m lens_jax.prepare --dataset=places205" in text
    assert "--frames_per_video" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--dataset=places",), ("'places'", "fashion_mnist, photo_crops, textured_glyphs, you")),
        (("--dataset=fashion_mnist",), ("no train-images-idx3-ubyte.gz in",)),
        (("--dataset=photo_crops", "--size=50"), ("--size is 50",)),
        (("--dataset=textured_glyphs", "--size=50"), ("--size is 50",)),
        (("--dataset=textured_glyphs", "--tied=1.5"), ("--tied is 1.5",)),
        (("--dataset=textures", "--patch=7"), ("--patch is 7",)),
        (("--dataset=textures", "--patch=96", "--size=64"), ("--size is 64", "between 96")),
        (("--dataset=fashion_mnist", "--patch=32"), ("--patch is for textures, not",)),
        (("--dataset=fashion_mnist", "--gray"), ("--gray is for photo_crops, not for fashion",)),
        (("--dataset=places205", "--max_side=64"), ("--source is for places205", "copies")),
        ((FRAMES,), ("--frames_per_second", "--frames_per_video")),
        (
            (FRAMES, "--frames_per_second=1", "--frames_per_video=8"),
            ("either --frames_per_second",),
        ),
        (("--dataset=tracks",), ("tracks needs --source", "--checkpoint, the folder of a run")),
        (("--dataset=tracks", "--checkpoint=nowhere"), ("no checkpoint in nowhere",)),
        (("--dataset=places205", "--max_distance=1"), ("--max_distance is for tracks",)),
        ((FRAMES, "--frames_per_second=0"), ("--frames_per_second is 0.0: it must be above 0",)),
        ((FRAMES, "--frames_per_second=nan"), ("--frames_per_second is nan",)),
        ((FRAMES, "--frames_per_video=-8"), ("--frames_per_video is -8",)),
        ((FRAMES, "--frames_per_video=8", "--size=0"), ("--size is 0",)),
        (
            ("--dataset=places205", "--size=64"),
            ("--size is for photo_crops, textured_glyphs, youtube8m_frames, textures, not",),
        ),
    ],
)
def test_wrong_options_are_named_and_nothing_is_written(options, words, tmp_path):
    line = refuse(*options, f"--source={tmp_path}", f"--data_dir={tmp_path / 'data'}")
    assert all(word in line for word in words), line
    assert not (tmp_path / "data").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    options = (f"--source={tmp_path / 'nowhere'}", f"--data_dir={tmp_path / 'data'}")
    assert f"no folder of videos at '{tmp_path}/nowhere'" in refuse(
        FRAMES, "--frames_per_second=1", *options
    )
    assert f"'{tmp_path}/nowhere'" in refuse("--dataset=places205", *options)
    assert not (tmp_path / "data").exists()


def test_files_of_a_release_are_prepared_and_then_copied_at_a_limited_size(tmp_path):
    write_release(tmp_path / "release")
    data_dir = f"--data_dir={tmp_path / 'data'}"
    source = f"--source={tmp_path / 'release'}"
    lines = succeed(*command("prepare", "--dataset=fashion_mnist", source, data_dir)).splitlines()
    path = tmp_path / "data" / "fashion_mnist" / "32" / "1.0.0"
    assert lines[-1] == f"{path} holds 20 in train, 10 in test"

    words = ("--dataset=tfds:fashion_mnist", "--max_side=16", data_dir)
    lines = succeed(*command("prepare", *words)).splitlines()
    copy = tmp_path / "data" / "fashion_mnist_max16" / "1.0.0"
    assert lines[-1] == f"{copy} holds 20 in train, 10 in test"
    assert "is there already" in refuse(*words)


def test_videos_are_prepared_and_counted_and_not_again(tmp_path):
    write_clip(tmp_path / "videos" / "a.mp4", 16)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    words = (
        FRAMES,
        f"--source={tmp_path / 'videos'}",
        f"--data_dir={tmp_path / 'data'}",
        "--size=32",
    )
    lines = succeed(*command("prepare", *words, "--frames_per_video=4")).splitlines()
    path = tmp_path / "data" / "youtube8m_frames" / "4frames-32" / "1.0.0"
    assert lines == [
        "skipped 1 of 2 videos, which do not decode: broken.mp4",
        f"preparing youtube8m_frames/4frames-32/1.0.0 in {path}",
        f"{path} holds 4 in train, of 1 videos",
    ]
    # TensorFlow is imported on the way to this one, and prints nothing.
    line = refuse(*words, "--frames_per_video=4", fresh=True)
    assert f"{path} is there already" in line
