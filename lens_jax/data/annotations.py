"""Which boxes and which frames the records of a split hold, read once and kept beside them.

Examples that are boxes, or pairs of frames, are found by index, and so all of the records have to
be gone through once. What was found is a file in the data set's folder, or only in memory where
that cannot be written.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from absl import logging

from lens_jax.data.tfds_table import Table, measure_areas, read_boxes, read_text
from lens_jax.errors import reason
from lens_jax.workdir import files

_CHUNK = 4096


class Annotations(NamedTuple):
    """What N records hold.

    Attributes:
      counts: the number of boxes that have an area, int [N].
      empty: how many boxes have none, in all records together.
      videos: which video each record is of, int [N]; empty where they are no frames.
      frames: which frame of it, int [N], likewise.
      tracks: which object each box with an area follows, int [sum of counts]; 0 where it is not
        said.

    """

    counts: np.ndarray
    empty: int
    videos: np.ndarray
    frames: np.ndarray
    tracks: np.ndarray


class Found(NamedTuple):
    """What one record holds."""

    tracks: list[int]
    empty: int
    video: str
    frame: int


def find_annotations(table: Table) -> Annotations:
    """The annotations of a split, from the file beside it or, the first time, from all records."""
    path = table.path / f"annotations-{table.split}.json"
    if path.exists():
        kept = files.read_json(path)
        if len(kept["counts"]) == table.size:
            return from_json(kept)

    print(f"reading boxes and frames of all {table.size:,} records of {table.name}, once")
    annotations = join(list(read_all(table)))
    try:
        files.write_whole(path, json.dumps(to_json(annotations)))
    except OSError as error:
        logging.warning("cannot keep what was found in %s: %s", path, reason(error))
    return annotations


def read_all(table: Table) -> Iterator[Found]:
    """What each record holds, in their order."""
    with ThreadPoolExecutor() as pool:
        # By chunks, as a pool would read on until the memory is full.
        for start in range(0, table.size, _CHUNK):
            indices = range(start, min(start + _CHUNK, table.size))
            yield from pool.map(lambda index: read_one(table, index), indices)


def read_one(table: Table, index: int) -> Found:
    """What one record holds."""
    keys = table.keys
    features = table.features(index)
    video, frame = "", 0
    if keys.video:
        video = read_text(features, keys.video)
        frame = features[keys.frame].int64_list.value[0]
    if not keys.boxes:
        return Found([], 0, video, frame)

    has_area = measure_areas(read_boxes(features, keys)) > 0
    tracks = np.zeros(len(has_area), int)
    if keys.track:
        tracks = np.array(features[keys.track].int64_list.value, int)
    empty = int(np.sum(~has_area))
    return Found(tracks[has_area].tolist(), empty, video, frame)


def join(found: list[Found]) -> Annotations:
    """The annotations of all records; videos are numbered in the order of their names."""
    counts = [len(each.tracks) for each in found]
    tracks = [track for each in found for track in each.tracks]
    names = [each.video for each in found]
    videos = np.zeros(0, int)
    frames = np.zeros(0, int)
    if any(names):
        _, videos = np.unique(names, return_inverse=True)
        frames = np.array([each.frame for each in found])
    return Annotations(
        counts=np.array(counts, int),
        empty=sum(each.empty for each in found),
        videos=videos,
        frames=frames,
        tracks=np.array(tracks, int),
    )


def to_json(annotations: Annotations) -> dict[str, list[int] | int]:
    """The annotations as plain JSON values."""
    values = annotations._asdict()
    return {name: np.asarray(value).tolist() for name, value in values.items()}


def from_json(values: dict[str, list[int] | int]) -> Annotations:
    """The annotations that `to_json` gave."""
    return Annotations(
        counts=np.array(values["counts"], int),
        empty=values["empty"],
        videos=np.array(values["videos"], int),
        frames=np.array(values["frames"], int),
        tracks=np.array(values["tracks"], int),
    )
