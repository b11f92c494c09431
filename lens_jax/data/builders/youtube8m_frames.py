"""Frames of the videos of YouTube-8M (Abu-El-Haija et al., 2016, arXiv 1609.08675), or of any
videos.

YouTube-8M itself ships features only, so the videos have to be at hand: one file for each in one
folder, named by its id, such as `dQw4w9WgXcQ.mp4`. Labels are optional: a CSV file with the header
`id,label`, then one line for each video. Further columns are not looked at, and videos without a
line are "unlabeled".

Videos of which nothing decodes are left out; one that breaks off gives the frames up to there.

Whether a video is in "train" or in "validation" is decided by its id alone, see `split_of`, so that
the frames of a video are never in both, and a video stays where it is when others come or go.
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
    """Prepares the videos in the folder `source`, and prints what was skipped and what is there
    now.

    Args:
      source: folder of videos.
      labels: CSV file of labels, or "".
      data_dir: TFDS' directory, where "" stands for its default.
      sampling: which frames to keep.
      beam_options: options of the Beam pipeline to run; None decodes in this process.

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
    paths = [path for path in folder.iterdir() if _is_video(path)]
    if not paths:
        raise UserError(f"no videos in {folder}: expected ID{', ID'.join(SUFFIXES)}")
    by_id: dict[str, epath.Path] = {}
    for path in sorted(paths):
        if path.stem in by_id:
            raise UserError(f"{by_id[path.stem]} and {path.name} have one id: keep one of them")
        by_id[path.stem] = path
    known = read_labels(labels) if labels else {}
    if unknown := [name for name in known if name not in by_id]:
        raise UserError(
            f"{labels} names {_some(unknown)}, which are not in {folder}: remove those lines"
        )
    return [
        Video(name, os.fspath(path), known.get(name, UNLABELED))
        for name, path in sorted(by_id.items())
    ]


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
    rows = csv.reader(text.removeprefix("\ufeff").splitlines())
    if next(rows, [])[:2] != ["id", "label"]:
        raise UserError(f"{path}:1: expected the header 'id,label'")
    labels: dict[str, str] = {}
    for row in rows:
        if len(row) < 2 or not row[0] or not row[1]:
            raise UserError(f"{path}:{rows.line_num}: expected 'id,label', not {','.join(row)!r}")
        if row[0] in labels:
            raise UserError(
                f"{path}:{rows.line_num}: second line for id {row[0]!r}: keep one of them"
            )
        labels[row[0]] = row[1]
    return labels


def readable_videos(videos: Sequence[Video]) -> list[Video]:
    """Those whose first frame decodes; the others are named in one printed line.

    Raises:
      UserError: there is none.

    """
    with ThreadPoolExecutor() as pool:
        readable = list(pool.map(video.is_readable, [each.path for each in videos]))
    broken = [
        os.path.basename(each.path) for each, good in zip(videos, readable, strict=True) if not good
    ]
    if len(broken) == len(videos):
        raise UserError(f"none of {len(videos)} videos decodes ({_some(broken)}): check the files")
    if broken:
        print(
            f"skipped {len(broken)} of {len(videos)} videos, which do not decode: {_some(broken)}"
        )
    return list(itertools.compress(videos, readable))


def split_of(name: str) -> str:
    """The split of the video with this id: "validation" for one in 20, else "train".

    It is the former where the first 8 bytes of the id's SHA-256, big-endian, are a multiple of 20.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return SPLITS[int.from_bytes(digest[:8]) % _VALIDATION_EVERY == 0]


def examples(each: Video, sampling: video.Sampling) -> Iterator[tuple[str, dict[str, Any]]]:
    """The frames of one video, with their keys."""
    for frame in video.read_frames(each.path, sampling):
        yield (
            f"{each.id}/{frame.index}",
            {
                "image": frame.image,
                "label": each.label,
                "video": each.id,
                "frame": frame.index,
                "seconds": frame.seconds,
            },
        )


class Youtube8mFrames(tfds.core.GeneratorBasedBuilder):
    """Frames of videos as JPEG, with the video's id, its label, and the frame's place in it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init__(
        self, *, videos: Sequence[Video], sampling: video.Sampling, beam: bool, **kwargs: Any
    ):
        """Frames of `videos`, which all decode, made through Beam or in this process."""
        self._videos, self._sampling, self._beam = videos, sampling, beam
        description = (
            f"Shorter side of {sampling.size} pixels, {sampling.number:g} {sampling.unit}."
        )
        config = tfds.core.BuilderConfig(name=sampling.name, description=description)
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=sorted({each.label for each in self._videos})),
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
        by_split = {
            split: [each for each in self._videos if split_of(each.id) == split] for split in SPLITS
        }
        return {
            split: self._generate_examples(videos) for split, videos in by_split.items() if videos
        }

    def _generate_examples(self, videos: Sequence[Video]) -> Any:
        # A partial of a plain function, so that Beam sends no builder to its workers.
        read = functools.partial(examples, sampling=self._sampling)
        if not self._beam:
            return itertools.chain.from_iterable(map(read, videos))
        import apache_beam as beam

        return beam.Create(videos) | beam.FlatMap(read)

    def _example_writer(self) -> tfds.core.writer.ExampleWriter:
        writer = (
            BucketWriter if "://" in os.fspath(self.data_dir) else tfds.core.writer.ExampleWriter
        )
        return writer(file_format=self.info.file_format)


def _is_video(path: epath.Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
