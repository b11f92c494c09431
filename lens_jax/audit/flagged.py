"""What was found, as files for programs: findings.json and flagged.csv."""

import csv
import io
import json
from collections import Counter

from lens_jax.audit.findings import find_all, find_marked, highest_score
from lens_jax.audit.headline import headline
from lens_jax.audit.lens_words import findings
from lens_jax.audit.outcome import answers, describe_pair, find_pairs, find_spots
from lens_jax.audit.state import Audit

# A cell that begins with one of these is a formula for spreadsheets.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def findings_json(audit: Audit) -> str:
    """All numbers but the maps, as JSON."""
    finished = list(audit.results)
    kinds = Counter(pair.kind for pair in find_pairs(audit))
    content = {
        "headline": headline(audit),
        "finished": finished,
        "missing": [part.name for part in audit.missing],
        "images": len(audit.folder.paths),
        "labeled_by": audit.folder.labeled_by,
        "duplicates": dict(kinds),
        "probes": [answer._asdict() | {"is_told": answer.is_told} for answer in answers(audit)],
        "map": find_spots(audit),
        "lens": findings(audit),
        "findings": [finding._asdict() for finding in find_all(audit)],
        "highest_score": highest_score(audit),
        "limits": audit.results.get("marks", {}).get("limits", []),
        "advice": audit.results.get("advice", {}),
    }
    return json.dumps(content, indent=2) + "\n"


def flagged_csv(audit: Audit) -> str:
    """Files to look at, as CSV: file, kind, score, box, like.

    Broken files and duplicates come first, then the images with a mark that was found. The score of
    a mark is how likely the image has it, in [0, 1]. The box is where: its top, left, bottom and
    right edge as fractions of the sides. A path that a spreadsheet would take for a formula begins
    with "./".
    """
    folder = audit.folder
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "kind", "score", "box", "like"])
    errors = audit.results.get("reading", {}).get("columns", {}).get("error", [])
    for path, error in zip(folder.paths, errors, strict=False):
        if error:
            rows.writerow([_cell(path), "broken", 1, "", ""])
    for pair in find_pairs(audit):
        paths = [_cell(folder.paths[index]) for index in (pair.file, pair.like)]
        rows.writerow([paths[0], describe_pair(audit, pair), f"{pair.score:.4f}", "", paths[1]])
    for mark in find_marked(audit):
        rows.writerow([_cell(mark.path), f"mark: {mark.title}", mark.score, _edges(mark.box), ""])
    return text.getvalue().encode(errors="backslashreplace").decode()


def _edges(box: dict[str, float] | None) -> str:
    if box is None:
        return ""
    return " ".join(f"{box[name]:.3f}" for name in ("top", "left", "bottom", "right"))


def _cell(path: str) -> str:
    return f"./{path}" if path.startswith(_FORMULAS) else path
