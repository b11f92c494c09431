"""Digests of a checkpoint's files, which tell whether a file has changed since it was written.

TensorStore guards its indices by checksums, but not the arrays: bits that flip there are read
without a word.
"""

import hashlib
import json
from collections.abc import Iterator

from etils import epath

DIGESTS_FILE = "digests.json"
CHUNK = 1 << 24


def write_digests(folder: epath.Path) -> None:
    """Writes the SHA-256 of every file in the subfolders of `folder` into `folder`.

    What lies directly in `folder` is left out: Orbax changes it later, and no array is there.
    """
    parts = [path for path in folder.iterdir() if path.is_dir()]
    digests = {
        str(file.relative_to(folder)): _digest(file) for part in parts for file in _files(part)
    }
    (folder / DIGESTS_FILE).write_text(json.dumps(digests, indent=2) + "\n")


def find_damage(folder: epath.Path, part: str) -> str | None:
    """Says which file below `folder`/`part` is missing or changed; None where all are as written."""
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
    for path in sorted(folder.iterdir()):
        yield from _files(path) if path.is_dir() else (path,)


def _digest(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
