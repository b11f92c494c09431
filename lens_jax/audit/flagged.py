"""What was found, as files for programs: findings.json and flagged.csv."""

import csv
import io
import json
from collections import Counter

from lens_jax.audit.headline import headline
from lens_jax.audit.outcome import answers, describe_pair, find_pairs, find_spots
from lens_jax.audit.parts import PARTS
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
        "missing": [part.name for part in PARTS if part.name not in finished],
        "images": len(audit.folder.paths),
        "labeled_by": audit.folder.labeled_by,
        "duplicates": dict(kinds),
        "probes": [answer._asdict() | {"is_told": answer.is_told} for answer in answers(audit)],
        "map": find_spots(audit),
    }
    return json.dumps(content, indent=2) + "\n"


def flagged_csv(audit: Audit) -> str:
    """Files that are broken or duplicates, as CSV: file, kind, score, like.

    A path that a spreadsheet would take for a formula begins with "./".
    """
    folder = audit.folder
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "kind", "score", "like"])
    errors = audit.results.get("reading", {}).get("columns", {}).get("error", [])
    for path, error in zip(folder.paths, errors, strict=False):
        if error:
            rows.writerow([_cell(path), "broken", 1, ""])
    for pair in find_pairs(audit):
        paths = [_cell(folder.paths[index]) for index in (pair.file, pair.like)]
        rows.writerow([paths[0], describe_pair(audit, pair), f"{pair.score:.4f}", paths[1]])
    return text.getvalue().encode(errors="backslashreplace").decode()


def _cell(path: str) -> str:
    return f"./{path}" if path.startswith(_FORMULAS) else path
