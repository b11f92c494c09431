"""Data sets that TFDS prepared as ArrayRecord: their names, and their records in any order."""

import dataclasses
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from etils import epath

from lens_jax.data.annotations import Annotations, find_annotations
from lens_jax.data.records import Record, Source, fingerprint
from lens_jax.data.selection import (
    EACH_RECORD,
    Selection,
    Shown,
    each_box,
    frame_pairs,
    join,
    largest_boxes,
    region_pairs,
    whole_images,
)
from lens_jax.data.tfds_table import Table, open_table
from lens_jax.errors import UserError

PREFIX = "tfds:"
_FORM = "tfds:NAME, tfds:NAME/CONFIG, tfds:NAME:VERSION or tfds:NAME,image=KEY,label=KEY"
_NAME = re.compile(
    r"tfds:(?P<name>\w+(/\w[\w.+-]*)?)(:(?P<version>\d+\.\d+\.\d+))?"
    r"(,image=(?P<image>[\w-]+))?(,label=(?P<label>[\w-]+))?",
    re.ASCII,
)
# What is shown of the images that have boxes.
_SHOW = {"none": whole_images, "each": each_box, "largest": largest_boxes}


class Name(NamedTuple):
    """What a name such as "tfds:imagenette/320px-v2:1.0.0,label=label" says.

    Attributes:
      name: TFDS' name, and after a "/" that of a configuration.
      version: the version, or "" for the newest.
      image: the key of the images' feature, or "" for the only one that there is.
      label: the key of the labels' feature, or "" for the only one that there is.

    """

    name: str
    version: str = ""
    image: str = ""
    label: str = ""


def parse(name: str) -> Name:
    """Reads a name that begins with `PREFIX`.

    Raises:
      UserError: it has another form.

    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{name!r} names no TFDS data set: expected {_FORM}")
    return Name(**match.groupdict(default=""))


def split_names(path: epath.Path) -> tuple[str, ...]:
    """The splits of the data set in a folder."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(path)
    return tuple(builder.info.splits)


def open_records(
    path: epath.Path,
    split: str,
    image: str = "",
    label: str = "",
    selection: Selection = EACH_RECORD,
) -> Source:
    """Opens a split of the data set in a folder.

    Images without a class of their own have that of their largest box; those without a box are then
    left out, whatever is selected. So are boxes without an area.

    Args:
      path: the folder of one version, which is prepared as ArrayRecord.
      split: one of its splits; "" is the one to evaluate on, see `records.choose_split`.
      image: the key of the images' feature; "" stands for the only one.
      label: the key of the labels' feature; "" stands for the only one, see `open_table`.
      selection: what of the records is an example.

    Raises:
      UserError: there is no such split or feature, or more than one that could be meant; or no box,
        frame or pair of what is selected.

    """
    table = open_table(path, split, image, label, selection.by_box)
    if selection.is_plain and not table.by_box:
        return _source(table, table.size, table.record, selection)
    _check_features(table, selection)
    annotations = find_annotations(table)
    if selection.pairs == "none":
        return _open_boxes(table, annotations, selection)
    return _open_pairs(table, annotations, selection)


def _check_features(table: Table, selection: Selection) -> None:
    """Raises `UserError` for a data set without what is selected."""
    if selection.by_box and not table.keys.boxes:
        raise UserError(
            f"{table.dataset} has no boxes: set data.boxes and data.pairs to none, or use a data "
            "set with a feature of the type BBoxFeature, such as glyph_scenes or tfds:coco/2017"
        )
    if selection.pairs != "none" and not table.keys.video:
        raise UserError(
            f"{table.dataset} has no videos: set data.pairs=none, or use a data set with the "
            "features video and frame, such as glyph_videos or youtube8m_frames"
        )


def _open_boxes(table: Table, annotations: Annotations, selection: Selection) -> Source:
    """Images that have boxes, each of their boxes, or the largest one of each."""
    counts = annotations.counts
    shown = _SHOW[selection.boxes](counts)
    boxes = int(np.sum(counts))
    if not boxes:
        raise UserError(
            f"none of the {table.size:,} images of {table.name} has a box: choose another split"
        )
    without = table.size - np.count_nonzero(counts)
    examples = f"{len(shown.records):,} examples"
    what = f"{examples}: {boxes:,} boxes in {np.count_nonzero(counts):,} images"
    left_out = f"left out: {without:,} images without a box, {annotations.empty:,} boxes of no area"

    def read(index: int) -> Record:
        return table.record(int(shown.records[index]), int(shown.boxes[index]))

    return _source(table, len(shown.records), read, selection, f"{what}; {left_out}")


def _open_pairs(table: Table, annotations: Annotations, selection: Selection) -> Source:
    """Pairs of frames of one video, pairs of boxes of one track, or both, one after the other."""
    pairs = _find_pairs(table, annotations, selection)
    first, second = (join(parts) for parts in zip(*pairs.values(), strict=True))
    videos = annotations.videos
    total = len(np.unique(videos))
    paired = len(np.unique(videos[first.records]))
    if not paired:
        raise UserError(
            f"no two {' or '.join(pairs)} of {table.name} are {selection.distance} frames apart in "
            f"one of its {total:,} videos: use a smaller data.pair_distance"
        )
    counts = [f"{len(shown.records):,} pairs of {kind}" for kind, (shown, _) in pairs.items()]
    what = f"{' and '.join(counts)}, {selection.distance} frames apart"
    left_out = f"left out: {total - paired:,} of {total:,} videos, which have none"

    def read(index: int) -> Record:
        return table.record(int(first.records[index]), int(first.boxes[index]))

    def read_partner(index: int) -> Record:
        return table.record(int(second.records[index]), int(second.boxes[index]))

    source = _source(table, len(first.records), read, selection, f"{what}; {left_out}")
    return dataclasses.replace(source, read_partner=read_partner)


def _find_pairs(
    table: Table, annotations: Annotations, selection: Selection
) -> dict[str, tuple[Shown, Shown]]:
    """The pairs that are selected, by what they are of."""
    counts, _, videos, frames, tracks = annotations
    distance = selection.distance
    pairs = {}
    if selection.pairs in ("frames", "both"):
        # The label of an image may be that of a box.
        records = np.flatnonzero(counts) if table.by_box else np.arange(table.size)
        pairs["frames"] = frame_pairs(records, videos, frames, distance)
    if selection.pairs in ("regions", "both"):
        pairs["regions"] = region_pairs(counts, videos, frames, tracks, distance)
    return pairs


def _source(
    table: Table,
    size: int,
    read: Callable[[int], Record],
    selection: Selection,
    note: str = "",
) -> Source:
    words = [table.dataset, table.split, str(size), *table.class_names]
    # Of several features of a kind, another one gives other images or labels.
    for key in (table.keys.image, table.keys.label):
        if key not in ("image", "label", ""):
            words.append(key)
    if not selection.is_plain:
        words += map(str, selection)
    classes = f"classes: {len(table.class_names):,}"
    note = note or f"{size:,} images"
    return Source(
        table.class_names,
        size,
        read,
        boxes=selection.boxes,
        dataset=table.dataset,
        folder=str(table.path),
        split=table.split,
        fingerprint=fingerprint(words),
        notes=(f"{table.name} in {table.path}: {note}, {classes}",),
    )
