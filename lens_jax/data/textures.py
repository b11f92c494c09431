"""The textures of images, one file for each image of a split, and how training reads both together.

`lens_jax.prepare --dataset=textures` makes them, see `builders.textures`.
"""

import dataclasses
import json
import shlex
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from lens_jax.data.records import Record, Source, fingerprint
from lens_jax.errors import UserError

# What the folder says of itself: whose textures it holds, and how they are made.
ABOUT = "textures.json"
_PER_FOLDER = 1000
_NAMED = 3


def path_of(folder: epath.Path, index: int) -> epath.Path:
    """The file of the texture of the image at an index, such as FOLDER/000012/000012345.png."""
    return folder / f"{index // _PER_FOLDER:06d}" / f"{index:09d}.png"


def find_missing(folder: epath.Path, count: int) -> list[int]:
    """Which of `count` images have no texture in a folder, by their indices."""
    missing = []
    for first in range(0, count, _PER_FOLDER):
        parent = path_of(folder, first).parent
        present = {path.name for path in parent.iterdir()} if parent.exists() else set()
        for index in range(first, min(first + _PER_FOLDER, count)):
            if path_of(folder, index).name not in present:
                missing.append(index)
    return missing


def describe(source: Source, patch: int, size: int) -> dict[str, Any]:
    """What `ABOUT` says of textures of `size` px made from patches of `patch` px."""
    return {
        "dataset": source.dataset,
        "split": source.split,
        "fingerprint": source.fingerprint,
        "patch": patch,
        "size": size,
    }


def read_about(folder: epath.Path) -> dict[str, Any] | None:
    """What a folder says of itself; None where it holds no textures."""
    path = folder / ABOUT
    return json.loads(path.read_text()) if path.exists() else None


def pair(source: Source, data: ConfigDict) -> Source:
    """A source whose records also hold "texture", from the folder `data.textures`.

    Args:
      source: a whole split; a subsample of the result keeps images and textures together.
      data: the config's section on data.

    Raises:
      UserError: there are no textures, those of other images, or not of all.

    """
    images = f"{source.dataset} {source.split}"
    folder = epath.Path(data.textures).expanduser()
    about = read_about(folder) if data.textures else None
    command = _command(data, about)
    if about is None:
        raise UserError(
            f"no textures of {images} in data.textures={data.textures!r}: run `{command}` and set "
            "it to the folder that is printed, or use task.non_semantic=patch, which needs none"
        )
    if about["fingerprint"] != source.fingerprint:
        raise UserError(
            f"{folder} holds the textures of other images, {about['dataset']} {about['split']}, "
            f"not of {images}: run `{command}` and set data.textures to the folder that is printed"
        )

    missing = find_missing(folder, len(source))
    if missing:
        names = ", ".join(source[index]["name"] for index in missing[:_NAMED])
        raise UserError(
            f"textures are missing in {folder} for {len(missing):,} of {len(source):,} images, "
            f"such as {names}: run `{command}`, which makes only these"
        )

    def read(index: int) -> Record:
        record = source.read(index)
        return record | {"texture": path_of(folder, index).read_bytes()}

    return dataclasses.replace(
        source,
        read=read,
        textures=fingerprint([json.dumps(about, sort_keys=True)]),
        notes=(*source.notes, f"textures of all of them in {folder}"),
    )


def _command(data: ConfigDict, about: dict[str, Any] | None) -> str:
    """The command that makes the textures of a config's training images."""
    is_folder = data.name == "image_folder"
    words = [
        "python -m lens_jax.prepare --dataset=textures",
        f"--source={shlex.quote(data.dir if is_folder else data.name)}",
        f"--split={data.train_split}",
    ]
    if data.dir and not is_folder:
        words.append(f"--data_dir={shlex.quote(data.dir)}")
    if about is not None:
        words += [f"--patch={about['patch']}", f"--size={about['size']}"]
    return " ".join(words)
