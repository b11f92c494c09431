"""The table of a sweep: means over seeds, their standard errors, and which differences are beyond chance."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath
from scipy import stats

from lens_jax.errors import UserError
from lens_jax.eval.features import REPRESENTATIONS
from lens_jax.sweep.grid import SEED, row_name, row_settings, spelled
from lens_jax.sweep.results import Outcome
from lens_jax.workdir.files import write_whole

SIGNIFICANT = 0.05
LINEAR = {f"linear_accuracy_{name}": f"linear {name}" for name in REPRESENTATIONS}
COLUMNS = LINEAR | {
    "pretext_accuracy_clean": "pretext clean",
    "pretext_accuracy_clean_lensed": "pretext clean lensed",
    "pretext_accuracy_shortcut": "pretext shortcut",
    "pretext_accuracy_shortcut_lensed": "pretext shortcut lensed",
    "seconds": "seconds",
}
CAPTION = (
    "Mean ± standard error over seeds; accuracies in percent; seconds of training. Bold: the best, where it "
    f"differs from the second best at p < {SIGNIFICANT} (Welch's t-test)."
)


def standard_error(values: list[float]) -> float | None:
    """The sample's deviation (over n - 1) by sqrt(n); None for less than two values."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def welch(a: list[float], b: list[float]) -> float:
    """The two-sided p of Welch's t-test that `a` and `b` have the same mean; 1 for less than two values."""
    if min(len(a), len(b)) < 2 or np.mean(a) == np.mean(b):
        return 1.0
    # From means and deviations, as `ttest_ind` warns of values that are all the same.
    described = [(np.mean(x), np.std(x, ddof=1), len(x)) for x in (a, b)]
    return float(stats.ttest_ind_from_stats(*described[0], *described[1], equal_var=False).pvalue)


def best(samples: list[list[float]]) -> int | None:
    """The place of the sample with the highest mean, if it differs from the second highest by `welch`."""
    order = sorted(
        (i for i, values in enumerate(samples) if values), key=lambda i: -np.mean(samples[i])
    )
    if len(order) < 2 or welch(samples[order[0]], samples[order[1]]) >= SIGNIFICANT:
        return None
    return order[0]


def make_table(outcomes: list[Outcome]) -> dict[str, Any]:
    """The table as plain JSON values: a row for each setting but the seed, with each seed's
    numbers.

    "settings" are the keys that differ between rows; a row without one of them leaves it as the
    config has it. "bold" names the columns in which the row is the best beyond chance.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(row_name(outcome.run), []).append(outcome)
    rows = [_make_row(group) for group in groups.values()]
    for column in LINEAR:
        place = best([_values(row, column) for row in rows])
        if place is not None:
            rows[place]["bold"].append(column)
    return {"settings": _varying([row["settings"] for row in rows]), "rows": rows}


def _make_row(group: list[Outcome]) -> dict[str, Any]:
    row = {
        "settings": row_settings(group[0].run),
        "seeds": [_describe(outcome) for outcome in group],
    }
    found = {column: _values(row, column) for column in COLUMNS}
    summary = {
        column: {"mean": float(np.mean(values)), "standard_error": standard_error(values)}
        for column, values in found.items()
        if values
    }
    return row | {"summary": summary, "bold": []}


def _describe(outcome: Outcome) -> dict[str, Any]:
    run = outcome.run
    described = {
        "seed": run.config[SEED],
        "folder": run.name,
        "state": outcome.state,
    } | outcome.numbers
    return described | ({"error": outcome.error} if outcome.error else {})


def _values(row: dict[str, Any], column: str) -> list[float]:
    return [seed[column] for seed in row["seeds"] if column in seed]


def _varying(settings: list[dict[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if any(each.get(key) != settings[0].get(key) for each in settings)]


def to_markdown(table: dict[str, Any]) -> str:
    """The table for people; columns that are empty in all rows are left out."""
    columns = [
        column for column in COLUMNS if any(column in row["summary"] for row in table["rows"])
    ]
    head = [*table["settings"], *(COLUMNS[column] for column in columns), "seeds"]
    lines = [head, ["---"] * len(head)]
    for row in table["rows"]:
        settings = [_spell(row["settings"], key) for key in table["settings"]]
        lines.append([*settings, *(_cell(row, column) for column in columns), _count(row)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{CAPTION}\n"


def _spell(settings: dict[str, Any], key: str) -> str:
    return spelled(settings[key]).replace("|", "\\|") if key in settings else ""


def _cell(row: dict[str, Any], column: str) -> str:
    if column not in row["summary"]:
        return ""
    scale, digits = (1, 0) if column == "seconds" else (100, 1)
    summary = row["summary"][column]
    text = f"{scale * summary['mean']:.{digits}f}"
    if summary["standard_error"] is not None:
        text += f" ± {scale * summary['standard_error']:.{digits}f}"
    return f"**{text}**" if column in row["bold"] else text


def _count(row: dict[str, Any]) -> str:
    states = [seed["state"] for seed in row["seeds"]]
    finished, failed = states.count("finished"), states.count("failed")
    if failed:
        return f"failed ({finished} of {len(states)} finished)"
    return str(finished) if finished == len(states) else f"{finished} of {len(states)}"


def write_table(workdir: str, look: Callable[[], list[Outcome]]) -> str:
    """Writes table.md and table.json of what `look` finds, and gives the former's text.

    Several processes may do so at once: each file is renamed into place, and written again until
    nothing new was found since, so that the last to write has seen all. Raises `UserError` where it
    cannot write.
    """
    written, table = None, make_table(look())
    try:
        epath.Path(workdir).mkdir(parents=True, exist_ok=True)
        while table != written:
            write_whole(epath.Path(workdir) / "table.md", to_markdown(table))
            write_whole(epath.Path(workdir) / "table.json", json.dumps(table, indent=2) + "\n")
            written, table = table, make_table(look())
    except OSError as error:
        raise UserError(
            f"cannot write to --workdir {workdir}: {error.strerror}; give another one"
        ) from error
    return to_markdown(table)
