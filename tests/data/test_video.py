import pathlib
from fractions import Fraction

import numpy as np
import pytest

from lens_jax.data import video
from lens_jax.data.decode import decode
from tests.clips import level, write_clip, write_sound


def kept(times: list[Fraction], rate: Fraction) -> list[int]:
    """The indices of the frames that `subsample` keeps."""
    return [index for index, _ in video.subsample(enumerate(times), rate)]


def test_subsample_keeps_the_first_frame_of_each_interval():
    times = [Fraction(tenths, 10) for tenths in (0, 4, 5, 9, 10, 11, 32, 33)]
    assert kept(times, Fraction(1)) == [0, 4, 6]
    assert kept(times, Fraction(2)) == [0, 2, 4, 6]


def test_subsample_agrees_with_a_search_interval_by_interval():
    rng = np.random.default_rng(0)
    for rate in (Fraction(1, 3), Fraction(1), Fraction(30_000, 1001), Fraction(7, 2)):
        ticks = np.cumsum(rng.integers(1, 60_000, 50)) - 1
        times = [Fraction(int(tick), 90_000) for tick in ticks]
        expected = []
        for k in range(int(times[-1] * rate) + 1):
            start, end = k / rate, (k + 1) / rate
            inside = [i for i, time in enumerate(times) if start <= time < end]
            expected += inside[:1]
        assert kept(times, rate) == expected


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 250])
@pytest.mark.parametrize("number", [1, 2, 8])
def test_rate_for_keeps_as_many_evenly_spaced_frames_as_asked_for(count, number):
    times = [Fraction(1001 * i, 30_000) for i in range(count)]
    rate = video.rate_for(times[::-1], number)
    expected = []
    for part in range(number):
        # Frame i is the first of a part if i / count is the first value from part / number on.
        following = [i for i in range(count) if i * number >= part * count]
        expected += following[:1]
    if count <= number:
        expected = list(range(count))
    assert kept(times, rate) == expected


def read(path: pathlib.Path, *sampling) -> list[video.Frame]:
    return list(video.read_frames(str(path), video.Sampling(*sampling)))


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_per_second(tmp_path, codec):
    write_clip(tmp_path / "a.mp4", 20, fps=8, codec=codec, width=96, height=48)
    frames = read(tmp_path / "a.mp4", 2, "fps", 24)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.seconds for frame in frames] == [0.0, 0.5, 1.0, 1.5, 2.0]
    images = [decode(frame.image) for frame in frames]
    assert {image.shape for image in images} == {(24, 48, 3)}
    assert [level(image) for image in images] == [0, 4, 0, 4, 0]


def test_frames_per_video_and_a_portrait_made_larger(tmp_path):
    write_clip(tmp_path / "a.webm", 12, fps=8, codec="libvpx-vp9", width=48, height=64)
    frames = read(tmp_path / "a.webm", 4, "frames", 60)
    images = [decode(frame.image) for frame in frames]
    assert [level(image) for image in images] == [0, 3, 6, 1]
    assert images[0].shape == (80, 60, 3)


def test_of_a_damaged_video_the_frames_before_the_damage_are_read(tmp_path):
    write_clip(tmp_path / "whole.mkv", 40)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    whole = read(tmp_path / "whole.mkv", 4, "fps", 32)
    cut = read(tmp_path / "cut.mkv", 4, "fps", 32)
    assert 0 < len(cut) < len(whole) == 20
    assert cut == whole[: len(cut)]


def test_what_is_no_video_has_no_frames(tmp_path):
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "junk.mp4").write_bytes(b"no video" * 1000)
    (tmp_path / "empty.mp4").write_bytes(b"")
    for path in tmp_path.iterdir():
        assert not video.is_readable(str(path))
        assert not read(path, 1, "fps", 32)
        assert not read(path, 8, "frames", 32)


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        (video.Sampling(1, "fps", 256), "1fps-256"),
        (video.Sampling(0.1, "fps", 64), "0.1fps-64"),
        (video.Sampling(8, "frames", 128), "8frames-128"),
    ],
)
def test_names(sampling, name):
    assert sampling.name == name
    assert video.parse_name(name) == sampling
    assert video.parse_name(f"{name}x") is None


def test_tiny_differences_have_names_of_their_own():
    third = video.Sampling(1 / 3, "fps", 9)
    nearly = video.Sampling(0.333333, "fps", 9)
    assert third.name != nearly.name
