"""Regions followed through videos, against cases worked out by hand and by loops."""

import pathlib

import numpy as np
import pytest

from lens_jax.data import decode
from lens_jax.data.builders import tracks as builder
from lens_jax.data.regions import Region
from lens_jax.data.selection import Selection
from lens_jax.data.source import open_source
from lens_jax.data.tracks import NO_TRACK, link, make_windows, mutual_nearest
from lens_jax.errors import UserError
from tests.data import boxed

AXES = np.eye(4)


def test_windows_cover_the_frame_and_stay_inside():
    windows = make_windows()
    assert windows.shape == (25 + 9 + 4, 4)
    assert len(np.unique(windows.round(6), axis=0)) == len(windows)
    assert windows.min() == 0
    assert windows.max() == 1
    sides = windows[:, 2:] - windows[:, :2]
    expected = np.repeat([1 / 3, 1 / 2, 2 / 3], [25, 9, 4])
    np.testing.assert_allclose(sides, np.stack([expected, expected], axis=1))


def test_mutual_neighbors_by_hand():
    # Column 0 is the nearest of both rows, but row 1 is its own nearest; nobody wants column 1.
    rows, columns = mutual_nearest(np.array([[0.2, 0.9, 0.8], [0.1, 0.7, 0.3]]))
    assert (rows.tolist(), columns.tolist()) == ([1], [0])


def test_a_region_is_followed_where_it_goes():
    # Two things change places, and the third region never looks like anything before.
    features = np.stack([AXES[[0, 1, 2]], AXES[[1, 0, 3]], AXES[[1, 0, 2]]])
    tracks = link(features, max_distance=0.5)
    assert tracks[0, 0] == tracks[1, 1] == tracks[2, 1] != NO_TRACK
    assert tracks[0, 1] == tracks[1, 0] == tracks[2, 0] != NO_TRACK
    assert tracks[0, 0] != tracks[0, 1]
    assert set(np.unique(tracks[:, :2])) == {0, 1}
    # The third ones are as far from each other as from all else, and at most linked too weakly.
    assert tracks[:, 2].tolist() == [NO_TRACK] * 3


def by_loops(features: np.ndarray, max_distance: float) -> set[tuple[tuple[int, int], ...]]:
    """The kept tracks, each as its (frame, region) in order."""
    frames, regions, _ = features.shape

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return 1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)

    following = {}
    for frame in range(frames - 1):
        here, there = features[frame], features[frame + 1]
        for p in range(regions):
            q = min(range(regions), key=lambda q: distance(here[p], there[q]))
            back = min(range(regions), key=lambda other: distance(here[other], there[q]))
            if back == p:
                following[frame, p] = (frame + 1, q)
    kept = set()
    for start in ((frame, p) for frame in range(frames) for p in range(regions)):
        if start in following.values():
            continue
        track, distances = [start], []
        while track[-1] in following:
            (f, p), (g, q) = track[-1], following[track[-1]]
            distances.append(distance(features[f, p], features[g, q]))
            track.append((g, q))
        if distances and np.mean(distances) <= max_distance:
            kept.add(tuple(track))
    return kept


def test_tracks_are_those_of_loops():
    rng = np.random.default_rng(0)
    for max_distance in (0.2, 0.5, 1.0):
        features = rng.normal(size=(6, 5, 3))
        tracks = link(features, max_distance)
        found = set()
        for number in range(tracks.max() + 1):
            found.add(tuple(map(tuple, np.argwhere(tracks == number).tolist())))
        assert found == by_loops(features, max_distance)


def test_a_video_of_one_frame_has_no_tracks():
    assert link(AXES[None], 2.0).tolist() == [[NO_TRACK] * 4]


def pixels(image: bytes, regions: list[Region]) -> np.ndarray:
    """Regions as they are, in few pixels around their mean."""
    crops = [decode.resize(image, 4, region=region).reshape(-1) for region in regions]
    centered = np.stack(crops) - 128.0
    return np.concatenate([centered, np.ones((len(crops), 1))], axis=1)


def test_tracks_of_a_data_set_are_stored_and_paired(tmp_path, capsys):
    boxed.write_videos(tmp_path, tracked=False, name="clip")
    builder.prepare("tfds:clip", str(tmp_path), pixels, max_distance=0.2)
    printed = capsys.readouterr().out
    assert "open it as tfds:clip_tracks" in printed
    frames = open_source("tfds:clip_tracks", "train", str(tmp_path))
    assert len(frames) == sum(map(len, boxed.VIDEOS.values()))
    assert frames.class_names == ("insect", "other")

    # These videos hardly change: every window is followed in place.
    selection = Selection("none", "regions", 1)
    pairs = open_source("tfds:clip_tracks", "train", str(tmp_path), selection=selection)
    assert len(pairs) == 38 * 6
    for index in range(len(pairs)):
        first, second = pairs[index], pairs.read_partner(index)
        assert first["region"] == second["region"]
        names = [each["name"].split("] ")[1].split() for each in (first, second)]
        assert names[0][0] == names[1][0]
        assert int(names[1][2]) == int(names[0][2]) + 1


def test_tracks_that_are_all_weak_leave_frames_without_regions(tmp_path):
    boxed.write_videos(tmp_path, tracked=False, name="clip")
    rng = np.random.default_rng(0)

    def noise(image: bytes, regions: list[Region]) -> np.ndarray:
        return rng.normal(size=(len(regions), 512))

    builder.prepare("tfds:clip", str(tmp_path), noise, max_distance=0.1)
    with pytest.raises(UserError, match="no two regions of clip_tracks"):
        open_source(
            "tfds:clip_tracks", "train", str(tmp_path), selection=Selection("none", "regions", 1)
        )


def test_what_is_no_video_is_not_tracked(tmp_path: pathlib.Path):
    boxed.write_coco(tmp_path, [[(0, 0, 5, 5, "cat")]])
    with pytest.raises(UserError, match=r"zoo/1.0.0 has no frames of videos"):
        builder.prepare("tfds:zoo", str(tmp_path), pixels, max_distance=0.2)
