"""The feature store: features of a data set, computed once and kept on disk, mapped into memory.

A folder in the store holds one tap of one representation of one network on one source. Its name is
a digest of all that decides the features: the numbers of the networks, the sections of the config
that say what becomes of an image, the images, the representation and the tap. Where any of these
differs, so does the name: nothing in a store is ever stale.

Arrays are written in a folder of another name, which is renamed when it is complete. So jobs may
share a store, and what a killed one leaves behind is never read.
"""

import contextlib
import functools
import hashlib
import json
import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lens_jax import config as configs
from lens_jax.data.records import Source
from lens_jax.devices.distributed import gather
from lens_jax.eval.features import Rows, extract, make_features
from lens_jax.eval.frozen import Frozen
from lens_jax.workdir import files
from lens_jax.workdir.files import writing_to

# The sections of a config that decide what becomes of an image, but for these keys of "data".
_SECTIONS = ("data", "model", "task", "lens")
_NOT_OF_IMAGES = ("dir", "name", "classes", "batch_size", "threads", "pairs", "textures")
_UNFINISHED = ".unfinished"
_ABOUT = "about.json"
# The arrays beside the features of a tap.
_KNOWN = ("labels", "colors", "positions")


def read_rows(
    store: str,
    frozen: Frozen,
    source: Source,
    representation: str,
    taps: tuple[str, ...],
) -> Rows:
    """Features by tap, labels and mean colors of a source, mapped into memory from the store.

    They are computed where the store lacks them, in one pass for all taps. All processes must call
    this alike.

    Args:
      store: the folder, on a disk of this machine.
      frozen: the network.
      source: the images.
      representation: one of `features.REPRESENTATIONS`.
      taps: the names of the taps, at least one.

    Raises:
      UserError: images that do not decode, or a disk without room.

    """
    common = describe(frozen, source, representation)
    about = {tap: common | {"tap": tap} for tap in taps}
    folders = {tap: pathlib.Path(store) / _name(about[tap]) for tap in taps}

    # All processes compute what one of them lacks, as their disks may differ.
    lacking = gather([tap for tap in taps if not folders[tap].exists()])
    missing = tuple(tap for tap in taps if any(tap in each for each in lacking))
    if missing:
        compute = make_features(frozen, representation, missing)
        with writing_to(store), _unfinished_folder(store, common) as folder:
            rows = extract(frozen, source, compute, functools.partial(_allocate, folder))
            for tap in missing:
                _keep(rows, folder / f"{tap}.npy", folders[tap], about[tap])
    return _map_rows(folders)


def default_folder(workdir: str) -> str:
    """The folder of a run's features: in its own, or for a run in a bucket in the temporary one."""
    if "://" in workdir:
        name = hashlib.sha256(workdir.encode()).hexdigest()[:16]
        return str(pathlib.Path(tempfile.gettempdir()) / f"lens_jax_features_{name}")
    return str(pathlib.Path(workdir) / files.FEATURES_FOLDER)


def describe(frozen: Frozen, source: Source, representation: str) -> dict[str, Any]:
    """All that decides the features of a source, as plain JSON values."""
    config = configs.to_json(frozen.config)
    sections = {name: config[name] for name in _SECTIONS}
    data = {key: value for key, value in config["data"].items() if key not in _NOT_OF_IMAGES}
    return {
        "networks": digest_networks(frozen),
        "config": sections | {"data": data},
        "representation": representation,
        "dataset": source.dataset,
        "split": source.split,
        "fingerprint": source.fingerprint,
        "boxes": source.boxes,
        # A subsample is evenly spaced, so that its size says which images it has.
        "examples": len(source),
    }


def digest_networks(frozen: Frozen) -> str:
    """The first 16 digits of the SHA-256 of the extractor's and the lens's numbers."""
    state = frozen.state
    numbers = jax.device_get((state.params, state.batch_stats, state.lens_params))
    digest = hashlib.sha256()
    for path, array in jax.tree.leaves_with_path(numbers):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def clean(store: str) -> int:
    """Removes all features from a store, also unfinished ones; returns how many bytes they took.

    Jobs that read them keep what they have mapped. Other files in the folder stay.
    """
    removed = 0
    for about in sorted(pathlib.Path(store).glob(f"*/{_ABOUT}")):
        folder = about.parent
        removed += sum(file.stat().st_size for file in folder.iterdir())
        shutil.rmtree(folder)
    return removed


def _name(about: dict[str, Any]) -> str:
    text = json.dumps(about, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _unfinished_folder(store: str, about: dict[str, Any]) -> Iterator[pathlib.Path]:
    """A folder that is gone afterwards, unless it was renamed."""
    folder = pathlib.Path(store) / f"{uuid.uuid4().hex}{_UNFINISHED}"
    folder.mkdir(parents=True)
    (folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _allocate(folder: pathlib.Path, tap: str, shape: tuple[int, int]) -> np.ndarray:
    """A float32 array of zeros that is a file."""
    file = folder / f"{tap}.npy"
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)


def _keep(rows: Rows, file: pathlib.Path, finished: pathlib.Path, about: dict[str, Any]) -> None:
    """Makes the folder `finished` of one tap, whose features are in `file`."""
    with _unfinished_folder(str(finished.parent), about) as folder:
        file.rename(folder / "features.npy")
        for name in _KNOWN:
            np.save(folder / f"{name}.npy", getattr(rows, name))
        # Where another job was faster, its folder holds the same.
        with contextlib.suppress(FileExistsError, OSError):
            folder.rename(finished)


def _map_rows(folders: dict[str, pathlib.Path]) -> Rows:
    features = {}
    for tap, folder in folders.items():
        known = {name: np.array(_map(folder, name)) for name in _KNOWN}
        mapped = _map(folder, "features")
        # What images left free that did not decode.
        features[tap] = mapped[: len(known["labels"])]
    return Rows(features, **known)


def _map(folder: pathlib.Path, name: str) -> np.ndarray:
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="r")
