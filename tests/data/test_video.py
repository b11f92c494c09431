from fractions import Fraction

import numpy as np
import pytest

from lens_jax.data import video
from lens_jax.data.decode import decode
from tests.clips import level, write_clip, write_sound


def kept(times, rate):
    return [index for index, _ in video.subsample(enumerated(times), rate)]


def enumerated(times):
    return ((index, Fraction(time)) for index, time in enumerate(times))


def test_subsample_keeps_the_first_frame_of_each_interval():
    assert kept(["0", "0.4", "0.5", "0.9", "1.0", "1.1", "3.2", "3.3"], Fraction(1)) == [0, 4, 6]
    assert kept(["0", "0.4", "0.5", "0.9", "1.0", "1.1", "3.2", "3.3"], Fraction(2)) == [0, 2, 4, 6]


def test_subsample_agrees_with_a_search_interval_by_interval():
    rng = np.random.default_rng(0)
    for rate in (Fraction(1, 3), Fraction(1), Fraction(30_000, 1001), Fraction(7, 2)):
        times = [Fraction(int(tick), 90_000) for tick in np.cumsum(rng.integers(1, 60_000, 50)) - 1]
        expected = []
        for k in range(int(times[-1] * rate) + 1):
            inside = [i for i, time in enumerate(times) if k / rate <= time < (k + 1) / rate]
            expected += inside[:1]
        assert [index for index, _ in video.subsample(enumerate(times), rate)] == expected


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 250])
@pytest.mark.parametrize("number", [1, 2, 8])
def test_rate_for_keeps_as_many_evenly_spaced_frames_as_asked_for(count, number):
    times = [Fraction(1001 * i, 30_000) for i in range(count)]
    found = [
        index for index, _ in video.subsample(enumerate(times), video.rate_for(times[::-1], number))
    ]
    # Part k begins with the first frame i of which i / count is at or above k / number.
    parts = [[i for i in range(count) if i * number >= k * count][:1] for k in range(number)]
    assert found == ([i for part in parts for i in part] if count > number else list(range(count)))


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_per_second(tmp_path, codec):
    write_clip(tmp_path / "a.mp4", 20, fps=8, codec=codec, width=96, height=48)
    frames = list(video.read_frames(str(tmp_path / "a.mp4"), video.Sampling(2, "fps", 24)))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.seconds for frame in frames] == [0.0, 0.5, 1.0, 1.5, 2.0]
    images = [decode(frame.image) for frame in frames]
    assert {image.shape for image in images} == {(24, 48, 3)}
    assert [level(image) for image in images] == [0, 4, 0, 4, 0]


def test_frames_per_video_and_a_portrait_made_larger(tmp_path):
    write_clip(tmp_path / "a.webm", 12, fps=8, codec="libvpx-vp9", width=48, height=64)
    frames = list(video.read_frames(str(tmp_path / "a.webm"), video.Sampling(4, "frames", 60)))
    assert [level(decode(frame.image)) for frame in frames] == [0, 3, 6, 1]
    assert decode(frames[0].image).shape == (80, 60, 3)


def test_a_video_that_breaks_off_gives_what_comes_before(tmp_path):
    write_clip(tmp_path / "whole.mkv", 40)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    whole, cut = (
        list(video.read_frames(str(tmp_path / name), video.Sampling(4, "fps", 32)))
        for name in ("whole.mkv", "cut.mkv")
    )
    assert 0 < len(cut) < len(whole) == 20
    assert cut == whole[: len(cut)]


def test_what_is_no_video_gives_nothing(tmp_path):
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "junk.mp4").write_bytes(b"no video" * 1000)
    (tmp_path / "empty.mp4").write_bytes(b"")
    for path in map(str, tmp_path.iterdir()):
        assert not video.is_readable(path)
        assert not list(video.read_frames(path, video.Sampling(1, "fps", 32)))
        assert not list(video.read_frames(path, video.Sampling(8, "frames", 32)))


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        ((1, "fps", 256), "1fps-256"),
        ((0.1, "fps", 64), "0.1fps-64"),
        ((8, "frames", 128), "8frames-128"),
    ],
)
def test_names(sampling, name):
    assert video.Sampling(*sampling).name == name
    assert video.parse_name(name) == video.Sampling(*sampling)
    assert video.parse_name(f"{name}x") is None


def test_tiny_differences_have_names_of_their_own():
    assert video.Sampling(1 / 3, "fps", 9).name != video.Sampling(0.333333, "fps", 9).name
