"""Frames of videos, such as those of YouTube-8M.

Abu-El-Haija et al., 2016, YouTube-8M: A Large-Scale Video Classification Benchmark, arXiv
1609.08675. YouTube-8M itself ships features only, so the videos have to be at hand: all in one
folder, each in a file named by its id, such as `dQw4w9WgXcQ.mp4`. Labels are optional: a CSV file
with the header `id,label`, then one line for each video. Further columns are ignored, and videos
without a line are "unlabeled".

Videos of which nothing decodes are left out; of a damaged one, the frames before the damage are
kept.

Whether a video is in "train" or in "validation" is decided by its id alone, see `split_of`. So the
frames of a video are never in both, and a video keeps its split when others are added or removed.
"""

import csv
import functools
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from lens_jax.data import preparation, video
from lens_jax.data.builders.bucket import BucketWriter
from lens_jax.errors import UserError

SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
SPLITS = ("train", "validation")
UNLABELED = "unlabeled"
_VALIDATION_EVERY = 20
# How many videos a message names.
_NAMED = 10


class Video(NamedTuple):
    """A video file, its id and its label's name."""

    id: str
    path: str
    label: str


def prepare(
    source: str,
    labels: str,
    data_dir: str,
    sampling: video.Sampling,
    beam_options: list[str] | None = None,
) -> None:
    """Prepares the videos in the folder `source`, and prints what was skipped and prepared.

    Args:
      source: folder of videos.
      labels: CSV file of labels, or "".
      data_dir: TFDS' directory, where "" stands for its default.
      sampling: which frames to keep.
      beam_options: options of the Beam pipeline to run; with None, this process decodes.

    Raises:
      UserError: no videos, none that decodes, labels that do not fit them, or data that is there
        already.

    """
    videos = find_videos(source, labels)
    readable = readable_videos(videos)
    builder = Youtube8mFrames(
        videos=readable,
        sampling=sampling,
        beam=beam_options is not None,
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(f"{preparation.prepare(builder, beam_options)}, of {len(readable):,} videos")


def find_videos(source: str, labels: str = "") -> list[Video]:
    """The videos in a folder with their labels, in the order of their ids.

    Raises:
      UserError: there is no such folder or no video in it, two of them have one id, or the labels
        are malformed or name a video that is not there.

    """
    folder = epath.Path(source).expanduser()
    if not source or not folder.is_dir():
        raise UserError(f"no folder of videos at {source!r}: set --source to one")
    by_id = _paths_by_id(folder)
    known = read_labels(labels) if labels else {}
    unknown = [name for name in known if name not in by_id]
    if unknown:
        raise UserError(
            f"{labels} names {_some(unknown)}, which are not in {folder}: remove those lines"
        )

    videos = []
    for name, path in sorted(by_id.items()):
        label = known.get(name, UNLABELED)
        videos.append(Video(name, os.fspath(path), label))
    return videos


def _paths_by_id(folder: epath.Path) -> dict[str, epath.Path]:
    paths = [path for path in folder.iterdir() if _is_video(path)]
    if not paths:
        legal = ", ".join(f"ID{suffix}" for suffix in SUFFIXES)
        raise UserError(f"no videos in {folder}: expected {legal}")

    by_id: dict[str, epath.Path] = {}
    for path in sorted(paths):
        # Files of two formats may share an id, which is all that labels and splits go by.
        name = path.stem
        if name in by_id:
            raise UserError(f"{by_id[name]} and {path.name} have one id: keep one of them")
        by_id[name] = path
    return by_id


def read_labels(path: str) -> dict[str, str]:
    """Reads a CSV file with the header `id,label`: each id's label.

    Raises:
      UserError: it is not there, or malformed; the text names the line.

    """
    try:
        text = epath.Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read labels {path!r}: {error}; set --labels to a CSV file"
        ) from error

    # A file from a spreadsheet may begin with a byte order mark.
    lines = text.removeprefix("\ufeff").splitlines()
    rows = csv.reader(lines)
    header = next(rows, [])
    if header[:2] != ["id", "label"]:
        raise UserError(f"{path}:1: expected the header 'id,label'")

    labels: dict[str, str] = {}
    for row in rows:
        # Blank lines, as many files have one at their end.
        if not row:
            continue
        line = f"{path}:{rows.line_num}"
        if len(row) < 2 or not row[0] or not row[1]:
            raise UserError(f"{line}: expected 'id,label', not {','.join(row)!r}")
        name, label = row[:2]
        if name in labels:
            raise UserError(f"{line}: second line for id {name!r}: keep one of them")
        labels[name] = label
    return labels


def readable_videos(videos: Sequence[Video]) -> list[Video]:
    """The videos whose first frame decodes; prints the others in one line.

    Raises:
      UserError: there is none.

    """
    paths = [each.path for each in videos]
    with ThreadPoolExecutor() as pool:
        decodes = list(pool.map(video.is_readable, paths))

    readable = []
    broken = []
    for each, good in zip(videos, decodes, strict=True):
        if good:
            readable.append(each)
        else:
            broken.append(os.path.basename(each.path))
    if not readable:
        raise UserError(f"none of {len(videos)} videos decodes ({_some(broken)}): check the files")
    if broken:
        count = f"{len(broken)} of {len(videos)} videos"
        print(f"skipped {count}, which do not decode: {_some(broken)}")
    return readable


def split_of(name: str) -> str:
    """The split of the video with this id: "validation" for one in 20, else "train".

    It is "validation" where the first 8 bytes of the id's SHA-256, big-endian, are a multiple of
    20.
    """
    # Python's own hash of a text differs from process to process.
    digest = hashlib.sha256(name.encode()).digest()
    number = int.from_bytes(digest[:8])
    held_out = number % _VALIDATION_EVERY == 0
    return "validation" if held_out else "train"


def examples(each: Video, sampling: video.Sampling) -> Iterator[tuple[str, dict[str, Any]]]:
    """The frames of one video, with their keys."""
    for frame in video.read_frames(each.path, sampling):
        example = {
            "image": frame.image,
            "label": each.label,
            "video": each.id,
            "frame": frame.index,
            "seconds": frame.seconds,
        }
        yield f"{each.id}/{frame.index}", example


class Youtube8mFrames(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Frames of videos as JPEG, with the video's id, its label, and the frame's number and time."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init__(
        self, *, videos: Sequence[Video], sampling: video.Sampling, beam: bool, **kwargs: Any
    ):
        """Frames of `videos`, which all decode, made through Beam or in this process."""
        self._videos = videos
        self._sampling = sampling
        self._beam = beam
        config = tfds.core.BuilderConfig(
            name=sampling.name,
            description=(
                f"Shorter side of {sampling.size} pixels, {sampling.number:g} {sampling.unit}."
            ),
        )
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        labels = {each.label for each in self._videos}
        features = {
            "image": image,
            "label": tfds.features.ClassLabel(names=sorted(labels)),
            "video": tfds.features.Text(),
            "frame": tfds.features.Scalar(np.int64),
            "seconds": tfds.features.Scalar(np.float32),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://research.google.com/youtube8m/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        generators = {}
        for split in SPLITS:
            videos = [each for each in self._videos if split_of(each.id) == split]
            # TFDS does not write empty splits.
            if videos:
                generators[split] = self._generate_examples(videos)
        return generators

    def _generate_examples(self, videos: Sequence[Video]) -> Any:
        # A partial of a plain function, so that Beam sends no builder to its workers.
        read = functools.partial(examples, sampling=self._sampling)
        if not self._beam:
            of_each = map(read, videos)
            return itertools.chain.from_iterable(of_each)
        import apache_beam as beam

        return beam.Create(videos) | beam.FlatMap(read)

    def _example_writer(self) -> tfds.core.writer.ExampleWriter:
        in_bucket = "://" in os.fspath(self.data_dir)
        writer = BucketWriter if in_bucket else tfds.core.writer.ExampleWriter
        return writer(file_format=self.info.file_format)


def _is_video(path: epath.Path) -> bool:
    is_hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not is_hidden


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    named = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    if more > 0:
        named += f" and {more:,} more"
    return named
