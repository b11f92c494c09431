"""Digests of a checkpoint's files, which show whether a file has changed since it was written.

TensorStore guards its indices by checksums, but not the arrays: it reads bits that have flipped
there without an error.
"""

import hashlib
import json
from collections.abc import Iterator

from etils import epath

from lens_jax.workdir.files import DIGESTS_FILE

CHUNK = 1 << 24


def write_digests(folder: epath.Path) -> None:
    """Writes the SHA-256 of every file in the subfolders of `folder` into `folder`.

    Files that lie directly in `folder` are left out: Orbax changes them later, and no array is
    there.
    """
    digests = {}
    for part in folder.iterdir():
        if part.is_dir():
            for file in _files(part):
                digests[str(file.relative_to(folder))] = _digest(file)
    (folder / DIGESTS_FILE).write_text(json.dumps(digests, indent=2) + "\n")


def find_damage(folder: epath.Path, part: str) -> str | None:
    """Which file below `folder`/`part` is missing or changed; None where all are as written."""
    if not (folder / DIGESTS_FILE).exists():
        return f"{DIGESTS_FILE} is missing"
    try:
        digests = json.loads((folder / DIGESTS_FILE).read_text())
    except ValueError:
        return f"{DIGESTS_FILE} is not readable"
    for name, digest in digests.items():
        if not epath.Path(name).is_relative_to(part):
            continue
        if not (folder / name).exists():
            return f"{name} is missing"
        if _digest(folder / name) != digest:
            return f"{name} has changed since it was written"
    return None


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    """All files below a folder."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _digest(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
