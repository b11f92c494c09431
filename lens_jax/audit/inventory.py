"""The section on what was read: files, sizes, cameras, what is broken and what is there twice."""

from collections import Counter
from typing import Any

from lens_jax.audit import outcome
from lens_jax.audit.state import Audit
from lens_jax.pages import page
from lens_jax.pages.page import Part, printable

# How many values of a property, and how many flagged files, are shown.
_SHOWN_VALUES = 5
_SHOWN_FILES = 12
# The properties that are counted, by their titles; sides are no column of their own.
_SIDES = ""
_PROPERTIES = {
    "format": "format",
    "mode": "mode",
    "width x height": _SIDES,
    "JPEG quality": "quality",
    "JPEG coding": "coding",
    "camera (EXIF)": "camera",
    "software (EXIF)": "software",
    "orientation (EXIF)": "orientation",
}
# What most files have of a property is not worth a word.
_ORDINARY = {"orientation": 1, "quality": 0}


def reading_section(audit: Audit) -> list[Part]:
    """What was read: files, sizes, modes, qualities, cameras, broken files and duplicates."""
    columns = audit.results["reading"]["columns"]
    whole = [index for index, error in enumerate(columns["error"]) if not error]
    errors = len(columns["error"]) - len(whole)

    rows = [["images", f"{len(columns['error']):,}"], ["cannot be read", f"{errors:,}"]]
    splits = Counter(audit.folder.splits)
    if set(splits) != {""}:
        rows.append(["splits", _counts(splits)])
    rows.append(["labels", _describe_labels(audit)])
    for title, name in _PROPERTIES.items():
        values = [_value(columns, name, index) for index in whole]
        # What no file has is not worth a row.
        if any(values):
            rows.append([title, _counts(Counter(values))])
    if "duplicates" in audit.results:
        rows += _duplicate_rows(audit)

    parts = [page.heading("What was read"), page.facts(rows)]
    parts += [page.paragraph(printable(note)) for note in audit.folder.notes]
    if errors or outcome.find_pairs(audit):
        parts += _flagged(audit)
    return parts


def _describe_labels(audit: Audit) -> str:
    if not audit.folder.labeled_by:
        return "none: all images are in one folder"
    labels = Counter(audit.folder.labels)
    labels.pop("", None)
    sizes = sorted(labels.values())
    return f"{len(labels):,}, by {audit.folder.labeled_by}, of {sizes[0]:,} to {sizes[-1]:,} images"


def _value(columns: dict[str, list[Any]], name: str, index: int) -> str:
    """The text of a column; of orientation and quality, nothing where they are the ordinary."""
    if name == _SIDES:
        return f"{columns['width'][index]} x {columns['height'][index]}"
    value = columns[name][index]
    if value == _ORDINARY.get(name):
        return ""
    return printable(str(value))


def _counts(counts: Counter[str]) -> str:
    """The most frequent values and how many there are of each, and how many values more."""
    parts = []
    for value, count in counts.most_common(_SHOWN_VALUES):
        parts.append(f"{value or 'none'}: {count:,}")
    more = len(counts) - _SHOWN_VALUES
    if more > 0:
        parts.append(f"and {more:,} other values")
    return "; ".join(parts)


def _duplicate_rows(audit: Audit) -> list[list[str]]:
    pairs = outcome.find_pairs(audit)
    kinds = Counter(pair.kind for pair in pairs)
    descriptions = [outcome.describe_pair(audit, pair) for pair in pairs]
    across = sum("across splits" in text for text in descriptions)
    two_labels = sum("two labels" in text for text in descriptions)
    return [
        ["copies of an earlier image, byte by byte", f"{kinds['same bytes']:,}"],
        ["other files of the same pixels", f"{kinds['same pixels']:,}"],
        ["near duplicates", f"{kinds['near duplicate']:,}"],
        ["of all these, in two splits", f"{across:,}"],
        ["of all these, under two labels", f"{two_labels:,}"],
    ]


def _flagged(audit: Audit) -> list[Part]:
    """The first files that are broken or duplicates, behind a summary."""
    folder = audit.folder
    columns = audit.results["reading"]["columns"]
    rows = []
    for path, error in zip(folder.paths, columns["error"], strict=True):
        if error:
            rows.append([printable(path), printable(error), ""])
    for pair in outcome.find_pairs(audit):
        paths = [printable(folder.paths[index]) for index in (pair.file, pair.like)]
        rows.append([paths[0], outcome.describe_pair(audit, pair), paths[1]])
    shown = page.table(["file", "what", "like"], rows[:_SHOWN_FILES])
    title = f"The first {_SHOWN_FILES} of {len(rows):,} files; all are in flagged.csv"
    if len(rows) <= _SHOWN_FILES:
        title = f"These {len(rows):,} files"
    return [page.folded(title, shown)]
