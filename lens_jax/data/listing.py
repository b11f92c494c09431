"""Lists a folder: which of its files are images, and why the others are none."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from lens_jax.errors import UserError, reason

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# What operating systems, archives and storage devices leave beside images, in lower case.
LEFTOVERS = frozenset(
    {
        "__macosx",
        "@eadir",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
    }
)


class File(NamedTuple):
    """An image file: its path below the folder, parts parted by "/", and its size in bytes."""

    path: str
    size: int


class Listing(NamedTuple):
    """What a folder holds, at any depth.

    Attributes:
      images: the image files, sorted.
      folders: the folders right in it, sorted.
      left_out: number of the other entries by the reason why they are left out.

    """

    images: list[File]
    folders: list[str]
    left_out: Counter[str]


def list_images(root: str) -> Listing:
    """Lists the images in a folder and in those below it.

    Links that lead back to a folder around them are not followed. Raises `UserError` for a folder
    that may not be read.
    """
    images: list[File] = []
    folders: list[str] = []
    left_out: Counter[str] = Counter()
    pending = [""]
    while pending:
        parent = pending.pop()
        for entry in _entries(root, parent):
            path = f"{parent}{entry.name}"
            why = _why_left_out(entry)
            if why:
                left_out[why] += 1
            elif entry.is_dir():
                pending.append(f"{path}/")
                if not parent:
                    folders.append(entry.name)
            else:
                images.append(File(path, entry.stat().st_size))
    # Folder by folder, as "a/b" stands before "a-b/c".
    images.sort(key=lambda file: file.path.split("/"))
    return Listing(images, sorted(folders), left_out)


def _entries(root: str, folder: str) -> Iterator[os.DirEntry]:
    path = os.path.join(root, folder)
    try:
        with os.scandir(path) as entries:
            yield from entries
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {reason(error)}; permit reading it, or move it out of {root}"
        ) from error


def _why_left_out(entry: os.DirEntry) -> str:
    """Why an entry is neither an image nor a folder that may hold some; "" where it is."""
    name = entry.name.casefold()
    if name.startswith(".") or name in LEFTOVERS:
        return "hidden or of the system"
    try:
        if entry.is_dir():
            return "links to a folder around them" if _leads_back(entry) else ""
        is_file = entry.is_file()
    except OSError:
        # A link to itself.
        is_file = False
    if not is_file:
        return "no file"
    _, ending = os.path.splitext(name)
    if ending not in ENDINGS:
        return ending or "without an ending"
    return ""


def _leads_back(entry: os.DirEntry) -> bool:
    if not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    parent = os.path.realpath(os.path.dirname(entry.path))
    return os.path.commonpath((target, parent)) == target
