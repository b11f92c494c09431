"""The records of a split that TFDS prepared as ArrayRecord, and what their features mean."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from lens_jax.data.records import UNLABELED, Record, choose_split
from lens_jax.data.regions import Region
from lens_jax.data.selection import LARGEST, WHOLE_IMAGE
from lens_jax.errors import UserError


class Keys(NamedTuple):
    """The keys of the features; "" for one that there is none of.

    Attributes:
      image: the image.
      label: the class of the image.
      boxes: the boxes in it, or its only one.
      box_label: the class of each box.
      track: which object of its video each box follows.
      video: of which video the image is a frame.
      frame: which frame of it.

    """

    image: str
    label: str = ""
    boxes: str = ""
    box_label: str = ""
    track: str = ""
    video: str = ""
    frame: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A split: `features(i)` are those of record i, in the protocol buffers of tf.train.Example.

    Attributes:
      dataset: full name of the data set, such as "coco/2017/1.1.0".
      path: its folder.
      split: name of the split.
      size: number of records.
      keys: which features mean what.
      class_names: what the labels stand for: those of images or, `by_box`, those of boxes.
      by_box: whether an example's label is that of its box, or of the largest box of an image.
      features: reads a record; any thread may.

    """

    dataset: str
    path: epath.Path
    split: str
    size: int
    keys: Keys
    class_names: tuple[str, ...]
    by_box: bool
    features: Callable[[int], Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Such as "coco/2017/1.1.0 train"."""
        return f"{self.dataset} {self.split}"

    def record(self, index: int, box: int = WHOLE_IMAGE) -> Record:
        """The image of a record or, by its number among those with an area, a box in it."""
        keys = self.keys
        features = self.features(index)
        record: Record = {
            "image": features[keys.image].bytes_list.value[0],
            "label": 0,
            "name": " ".join([f"{self.name}[{index}]", *_titles(features)]),
        }
        # The image has a label of its own, or none, unless labels are those of boxes.
        if keys.label and not self.by_box:
            record["label"] = features[keys.label].int64_list.value[0]
        if box == WHOLE_IMAGE and not self.by_box:
            return record

        boxes = read_boxes(features, keys)
        chosen = choose_box(boxes, box)
        if self.by_box:
            record["label"] = features[keys.box_label].int64_list.value[chosen]
        if box != WHOLE_IMAGE:
            record["region"] = Region(*boxes[chosen].tolist())
            record["name"] += f" box {chosen}"
        return record


def choose_box(boxes: np.ndarray, box: int) -> int:
    """Which of the stored boxes, [n, 4], is meant: one of those with an area, or the largest."""
    areas = measure_areas(boxes)
    if box in (WHOLE_IMAGE, LARGEST):
        return int(np.argmax(areas))
    with_area = np.flatnonzero(areas > 0)
    return int(with_area[box])


def read_boxes(features: Mapping[str, Any], keys: Keys) -> np.ndarray:
    """The boxes of a record, as TFDS orders them: top, left, bottom and right, float [n, 4]."""
    values = features[keys.boxes].float_list.value
    return np.array(values, np.float64).reshape(-1, 4)


def measure_areas(boxes: np.ndarray) -> np.ndarray:
    """The areas of boxes [n, 4] as fractions of the image, [n]; 0 for a box that has none."""
    top, left, bottom, right = boxes.T
    area = np.maximum(bottom - top, 0) * np.maximum(right - left, 0)
    return np.nan_to_num(area, posinf=0.0)


def open_table(
    path: epath.Path, split: str, image: str = "", label: str = "", by_box: bool = False
) -> Table:
    """Opens a split of the data set in a folder.

    Args:
      path: the folder of one version, which is prepared as ArrayRecord.
      split: one of its splits; "" is the one to evaluate on, see `records.choose_split`.
      image: the key of the images' feature; "" stands for the only one.
      label: the key of the labels' feature; "" stands for the only one. Where there is none, the
        classes are those of boxes. Without them either, all images are of one class, `UNLABELED`.
      by_box: whether the classes are those of boxes where boxes have classes.

    Raises:
      UserError: there is no such split or feature, or more than one that could be meant.

    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    builder = tfds.builder_from_directory(path)
    info = builder.info
    split = choose_split(info.full_name, split, info.splits)
    keys = _find_keys(info, image, label)
    by_box = bool(keys.box_label) and (by_box or not keys.label)
    class_names = (UNLABELED,)
    if by_box:
        objects, _, inner = keys.box_label.partition("/")
        class_names = tuple(info.features[objects].feature[inner].names)
    elif keys.label:
        class_names = tuple(info.features[keys.label].names)

    # TFDS' own parser would first turn every feature into an array, which takes thrice as long.
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    rows = builder.as_data_source(split, deserialize_method=raw, file_format="array_record")

    def features(index: int) -> Mapping[str, Any]:
        return tf_example_pb2.Example.FromString(rows[index]).features.feature

    return Table(
        dataset=info.full_name,
        path=path,
        split=split,
        size=len(rows),
        keys=keys,
        class_names=class_names,
        by_box=by_box,
        features=features,
    )


def _find_keys(info: Any, image: str, label: str) -> Keys:
    features = info.features
    images = _keys_of(features, _is_image)
    image = _choose(info.full_name, "image", image, images)
    if not image:
        raise UserError(f"{info.full_name} has no images of 8 or 16 bits: use another data set")
    labels = _keys_of(features, _is_label)
    label = _choose(info.full_name, "label", label, labels)
    keys = Keys(image, label)
    if "video" in features and "frame" in features:
        keys = keys._replace(video="video", frame="frame")

    # One box an image, or a sequence of objects with a box each.
    for key in _keys_of(features, _is_box):
        keys = keys._replace(boxes=key)
    for objects in _keys_of(features, _has_boxes):
        inner = features[objects].feature
        (box, *_) = _keys_of(inner, _is_box)
        box_labels = _keys_of(inner, _is_label)
        box_label = "label" if "label" in box_labels else "".join(box_labels[:1])
        keys = keys._replace(
            boxes=f"{objects}/{box}",
            box_label=f"{objects}/{box_label}" if box_label else "",
            track=f"{objects}/track" if "track" in inner else "",
        )
    return keys


def _keys_of(features: Any, is_wanted: Callable[[Any], bool]) -> tuple[str, ...]:
    found = [key for key, feature in features.items() if is_wanted(feature)]
    # TFDS reads them in no particular order.
    return tuple(sorted(found))


def _is_image(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    # Images of floating point numbers are stored as PNG files of their bytes.
    is_image = isinstance(feature, tfds.features.Image)
    return is_image and feature.np_dtype.name in ("uint8", "uint16")


def _is_label(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.ClassLabel)


def _is_box(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    if not isinstance(feature, tfds.features.BBoxFeature):
        return False
    # Edges in pixels, or in another order, are not read; older sets do not say.
    order = feature.bbox_format
    return order is None or order.value == "REL_YXYX"


def _has_boxes(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    if not isinstance(feature, tfds.features.Sequence):
        return False
    inner = feature.feature
    return isinstance(inner, tfds.features.FeaturesDict) and bool(_keys_of(inner, _is_box))


def _choose(data_set: str, kind: str, key: str, candidates: tuple[str, ...]) -> str:
    """The key that is asked for, or the usual or only candidate; "" where there is none."""
    legal = ", ".join(candidates) or "none"
    if key and key not in candidates:
        raise UserError(f"{data_set} has no {kind} feature {key!r}: use one of {legal}")
    if key or not candidates:
        return key
    if kind in candidates:
        return kind
    if len(candidates) > 1:
        raise UserError(
            f"{data_set} has {len(candidates)} {kind} features, {legal}: add one to the name, as "
            f"in ,{kind}={candidates[0]}"
        )
    return candidates[0]


def _titles(features: Any) -> list[str]:
    """Where a record comes from: ImageNet and Places have files, CIFAR-10 ids, frames a video."""
    titles = []
    for key in ("file_name", "id", "image/filename"):
        if key in features:
            title = read_text(features, key)
            titles.append(title)
    if "video" in features and "frame" in features:
        video_id = read_text(features, "video")
        frame = read_text(features, "frame")
        titles.append(f"{video_id} frame {frame}")
        # Time finds the frame in the video, its number in the data set.
        seconds = features["seconds"].float_list.value
        titles += [f"at {each:.2f} s" for each in seconds[:1]]
    return [title for title in titles if title]


def read_text(features: Mapping[str, Any], key: str) -> str:
    """A text of a record, or a number as one; "" where it is empty."""
    feature = features[key]
    values = [*feature.bytes_list.value, *feature.int64_list.value]
    if not values:
        return ""
    first = values[0]
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)
