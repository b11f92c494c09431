"""Frames of another data set with the regions that were tracked in them, see `data.tracks`."""

import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data import preparation, tfds_records
from lens_jax.data.annotations import find_annotations
from lens_jax.data.regions import Region
from lens_jax.data.source import find_prepared
from lens_jax.data.tfds_table import Table, open_table, read_text
from lens_jax.data.tracks import NO_TRACK, link, make_windows
from lens_jax.errors import UserError

_NAMED = 3

# (encoded frame, its regions) -> features [P, d].
Describe = Callable[[bytes, list[Region]], np.ndarray]
# Keys and examples of a split.
Examples = Iterator[tuple[str, dict[str, Any]]]


def prepare(dataset: str, data_dir: str, describe: Describe, max_distance: float) -> None:
    """Tracks regions through the videos of a prepared data set, and prints what was prepared.

    Args:
      dataset: its name, see `open_source`.
      data_dir: the folder of all data sets.
      describe: the features of regions.
      max_distance: see `link`.

    Raises:
      UserError: the data set is not prepared, its records are no frames, or the tracks are there
        already.

    """
    path = find_prepared(dataset, data_dir)
    tables = {}
    for split in tfds_records.split_names(path):
        tables[split] = open_table(path, split)
    table = next(iter(tables.values()))
    if not table.keys.video or table.by_box:
        raise UserError(
            f"{table.dataset} has no frames of videos with labels of their own or none: use a data "
            "set with the features video and frame, such as glyph_videos or youtube8m_frames"
        )
    builder_class = _named(tracks_name(dataset))
    builder = builder_class(
        tables=tables,
        describe=describe,
        max_distance=max_distance,
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(preparation.prepare(builder))
    print(f"{builder.tracks:,} tracks; open it as tfds:{builder.name}")
    if builder.broken:
        first = ", ".join(builder.broken[:_NAMED])
        print(f"left out {len(builder.broken)} frames that do not decode: {first}")


def tracks_name(dataset: str) -> str:
    """The name of the tracks of a data set, such as "youtube8m_frames_tracks"."""
    plain = dataset.removeprefix(tfds_records.PREFIX)
    name = re.sub(r"\W", "_", plain, flags=re.ASCII)
    return f"{name}_tracks"


class Tracks(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Frames of videos, and the regions of each that are followed from frame to frame."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init__(
        self, *, tables: dict[str, Table], describe: Describe, max_distance: float, **kwargs: Any
    ):
        """The frames of `tables`, by split, see `prepare`."""
        self._tables = tables
        self._describe = describe
        self._max_distance = max_distance
        self.tracks = 0
        self.broken: list[str] = []
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        table = next(iter(self._tables.values()))
        kinds = tfds.features
        region = {"bbox": kinds.BBoxFeature(), "track": kinds.Scalar(np.int64)}
        features = {
            "image": kinds.Image(shape=(None, None, 3)),
            "label": kinds.ClassLabel(names=list(table.class_names)),
            "video": kinds.Text(),
            "frame": kinds.Scalar(np.int64),
            "objects": kinds.Sequence(region),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=kinds.FeaturesDict(features),
            supervised_keys=("image", "label"),
            license="That of the original data set.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        tables = self._tables
        return {split: self._generate_examples(table) for split, table in tables.items()}

    def _generate_examples(self, table: Table) -> Examples:
        annotations = find_annotations(table)
        for video in range(annotations.videos.max() + 1):
            records = np.flatnonzero(annotations.videos == video)
            frames = annotations.frames[records]

            # As time goes.
            order = np.argsort(frames)
            records = records[order].tolist()
            frames = frames[order].tolist()

            features = table.features(records[0])
            name = read_text(features, table.keys.video)
            yield from self._track(table, name, records, frames)

    def _track(self, table: Table, video: str, records: list[int], frames: list[int]) -> Examples:
        """The frames of one video, which are all read before the first is written."""
        windows = make_windows()
        regions = [Region(*window) for window in windows.tolist()]
        kept = []
        described = []
        for index, frame in zip(records, frames, strict=True):
            record = table.record(index)
            try:
                described.append(self._describe(record["image"], regions))
            except ValueError:
                self.broken.append(record["name"])
                continue
            kept.append((record, frame))
        if not kept:
            return

        tracks = link(np.stack(described), self._max_distance)
        self.tracks += int(tracks.max()) + 1
        for (record, frame), followed in zip(kept, tracks, strict=True):
            example = {
                "image": record["image"],
                "label": record["label"],
                "video": video,
                "frame": frame,
                "objects": _objects(windows, followed),
            }
            yield f"{video}/{frame}", example


def _objects(windows: np.ndarray, tracks: np.ndarray) -> list[dict[str, Any]]:
    """The windows of a frame that are part of a track, as they are stored."""
    objects = []
    for window, track in zip(windows.tolist(), tracks.tolist(), strict=True):
        if track != NO_TRACK:
            objects.append({"bbox": tfds.features.BBox(*window), "track": track})
    return objects


def _named(name: str) -> type[Tracks]:
    """The builder of a data set's tracks; TFDS takes its name from the class."""
    return type(name, (Tracks,), {"name": name, "__module__": __name__}, skip_registration=True)
