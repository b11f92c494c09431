"""Small data sets with boxes, in the formats of TFDS' COCO and VOC and of frames of videos."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data.builders import png

# The objects of TFDS' coco/2017 and voc/2007.
COCO = {
    "area": np.int64,
    "bbox": tfds.features.BBoxFeature(),
    "id": np.int64,
    "is_crowd": np.bool_,
    "label": tfds.features.ClassLabel(names=["cat", "dog", "cup"]),
}
VOC = {
    "bbox": tfds.features.BBoxFeature(),
    "is_difficult": np.bool_,
    "is_truncated": np.bool_,
    "label": tfds.features.ClassLabel(names=["cat", "dog", "cup"]),
    "pose": tfds.features.ClassLabel(names=["left", "right"]),
}
IMAGE = tfds.features.Image(shape=(None, None, 3))

# Top, left, bottom and right in tenths, and the class.
Object = tuple[int, int, int, int, str]


def write(
    folder: pathlib.Path,
    name: str,
    features: dict[str, Any],
    examples: Sequence[dict[str, Any]],
    split: str = "train",
) -> None:
    """Prepares a data set of any name and features, whose keys are the numbers of the examples."""

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples()}

        def _generate_examples(self):
            yield from enumerate(examples)

    Builder.name = name
    Builder(data_dir=folder, file_format="array_record").download_and_prepare()


def picture(value: int, height: int = 20, width: int = 40) -> bytes:
    """Red `value`; green is the row and blue the column of each pixel."""
    rows, columns = np.indices((height, width))
    image = np.stack([np.full_like(rows, value), rows, columns], axis=-1)
    return png.encode(image.astype(np.uint8))


def objects_of(objects: Sequence[Object], **extra: Any) -> list[dict[str, Any]]:
    stored = []
    for *tenths, label in objects:
        top, left, bottom, right = (edge / 10 for edge in tenths)
        edges = tfds.features.BBox(ymin=top, xmin=left, ymax=bottom, xmax=right)
        stored.append({"bbox": edges, "label": label, **extra})
    return stored


def write_coco(folder: pathlib.Path, images: Sequence[Sequence[Object]], name: str = "zoo") -> None:
    """Images of 20 x 40 px, the number of each in red, with objects as COCO has them."""
    examples = []
    for number, objects in enumerate(images):
        example = {
            "image": picture(number),
            "image/filename": f"{number:06}.jpg",
            "image/id": number,
            "objects": objects_of(objects, area=1, id=7, is_crowd=False),
        }
        examples.append(example)
    features = {
        "image": IMAGE,
        "image/filename": tfds.features.Text(),
        "image/id": np.int64,
        "objects": tfds.features.Sequence(COCO),
    }
    write(folder, name, features, examples)


def write_voc(folder: pathlib.Path, images: Sequence[Sequence[Object]]) -> None:
    """Likewise as VOC has them, which also lists the classes in each image."""
    examples = []
    for number, objects in enumerate(images):
        extra = {"is_difficult": False, "is_truncated": True, "pose": "left"}
        example = {
            "image": picture(number),
            "image/filename": f"{number:06}.jpg",
            "labels": sorted({label for *_, label in objects}),
            "objects": objects_of(objects, **extra),
        }
        examples.append(example)
    features = {
        "image": IMAGE,
        "image/filename": tfds.features.Text(),
        "labels": tfds.features.Sequence(VOC["label"]),
        "objects": tfds.features.Sequence(VOC),
    }
    write(folder, "voc", features, examples)


# Frames of each video; one is missing in the second, as where a file was damaged.
VIDEOS = {"ants": [0, 1, 2, 3, 4], "bees": [0, 1, 3, 4], "crab": [0]}
KINDS = ["insect", "other"]


def write_videos(folder: pathlib.Path, tracked: bool, name: str = "film") -> None:
    """Frames whose red is 40 for each video, plus the frame's number; with tracks or one box."""
    examples = []
    for number, (video, frames) in enumerate(VIDEOS.items()):
        for frame in frames:
            example = {
                "image": picture(40 * number + frame),
                "label": "other" if video == "crab" else "insect",
                "video": video,
                "frame": frame,
                "seconds": frame / 10,
            }
            # One object stays, and another one leaves after the third frame.
            objects = [(0, 0, 5, 5, "cat"), (5, 5, 10, 10, "dog")][: 2 if frame < 3 else 1]
            if tracked:
                stored = objects_of(objects)
                # In the other order in every second frame.
                order = 1 if frame % 2 else -1
                for track, each in enumerate(stored):
                    each["track"] = 7 + track
                example["objects"] = stored[::order]
            else:
                example["bbox"] = tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=0.5, xmax=0.5)
            examples.append(example)
    features = {
        "image": IMAGE,
        "label": tfds.features.ClassLabel(names=KINDS),
        "video": tfds.features.Text(),
        "frame": tfds.features.Scalar(np.int64),
        "seconds": tfds.features.Scalar(np.float32),
    }
    if tracked:
        track = {"bbox": tfds.features.BBoxFeature(), "label": COCO["label"]}
        features["objects"] = tfds.features.Sequence(track | {"track": np.int64})
    else:
        features["bbox"] = tfds.features.BBoxFeature()
    write(folder, name, features, examples)
