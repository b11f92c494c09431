"""The table of a sweep: means over seeds, standard errors, and the best beyond chance."""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath
from scipy import stats

from lens_jax.eval.features import REPRESENTATIONS
from lens_jax.sweep.grid import SEED, row_name, row_settings, to_text
from lens_jax.sweep.status import Status
from lens_jax.workdir import files

SIGNIFICANT = 0.05
LINEAR = {f"linear_accuracy_{name}": f"linear {name}" for name in REPRESENTATIONS}
# Of the other representations these are in table.json.
COLUMNS = LINEAR | {
    "knn_accuracy_raw": "kNN raw",
    "rankme_raw": "RankMe raw",
    "color_r2_raw": "color raw",
    "pretext_accuracy_clean": "pretext clean",
    "pretext_accuracy_clean_lensed": "pretext clean lensed",
    "pretext_accuracy_shortcut": "pretext shortcut",
    "pretext_accuracy_shortcut_lensed": "pretext shortcut lensed",
    "seconds": "seconds",
}
CAPTION = (
    "Mean ± standard error over seeds; accuracies in percent, kNN by 20 neighbors; RankMe is an "
    "effective rank; color: R2 of the mean color, regressed from the features; seconds of "
    "training. Bold: the best, "
    f"where it differs from the second best at p < {SIGNIFICANT} (Welch's t-test)."
)


def standard_error(values: list[float]) -> float | None:
    """The standard deviation (over n - 1) by sqrt(n); None for less than two values."""
    count = len(values)
    if count < 2:
        return None
    deviation = float(np.std(values, ddof=1))
    return deviation / math.sqrt(count)


def welch(a: list[float], b: list[float]) -> float:
    """The two-sided p of Welch's t-test that two samples have the same mean.

    1 where a sample has less than two values.
    """
    fewest = min(len(a), len(b))
    if fewest < 2:
        return 1.0
    # Equal means have a t of 0, or of 0 / 0 without any spread.
    if np.mean(a) == np.mean(b):
        return 1.0
    # From the statistics of the samples, as `ttest_ind` warns of values that are all the same.
    test = stats.ttest_ind_from_stats(
        np.mean(a),
        np.std(a, ddof=1),
        len(a),
        np.mean(b),
        np.std(b, ddof=1),
        len(b),
        equal_var=False,
    )
    return float(test.pvalue)


def best(samples: list[list[float]]) -> int | None:
    """The index of the sample with the highest mean, if it differs from the second highest.

    Samples differ where `welch` is below `SIGNIFICANT`; empty ones are left out. None where the
    best does not differ, and for less than two samples.
    """
    means = {}
    for index, values in enumerate(samples):
        if values:
            means[index] = np.mean(values)
    if len(means) < 2:
        return None
    first, second, *_ = sorted(means, key=means.get, reverse=True)
    if welch(samples[first], samples[second]) >= SIGNIFICANT:
        return None
    return first


def make_table(statuses: list[Status]) -> dict[str, Any]:
    """The table as plain JSON values: a row for each setting but the seed.

    "settings" are the keys that differ between rows; a row without one of them leaves it as the
    config has it. A row's "seeds" are the numbers of its runs, "summary" their means and standard
    errors by column, and "bold" names the columns in which it is the best beyond chance.
    "measured_on" is the data of the results, of several where rows differ in it.
    """
    # Runs that differ only in their seeds make up a row.
    groups = defaultdict(list)
    for status in statuses:
        groups[row_name(status.run)].append(status)
    rows = [_make_row(group) for group in groups.values()]

    # Only linear accuracies are compared: pretext accuracies and seconds have no best.
    for column in LINEAR:
        samples = [_column_values(row["seeds"], column) for row in rows]
        index = best(samples)
        if index is not None:
            rows[index]["bold"].append(column)
    measured_on = {status.measured_on for status in statuses if status.measured_on}
    return {
        "settings": _differing_keys(rows),
        "measured_on": sorted(measured_on),
        "rows": rows,
    }


def _make_row(group: list[Status]) -> dict[str, Any]:
    seeds = [_describe(status) for status in group]
    summary = {}
    for column in COLUMNS:
        values = _column_values(seeds, column)
        if values:
            mean = float(np.mean(values))
            summary[column] = {"mean": mean, "standard_error": standard_error(values)}
    settings = row_settings(group[0].run)
    return {"settings": settings, "seeds": seeds, "summary": summary, "bold": []}


def _describe(status: Status) -> dict[str, Any]:
    run = status.run
    seed = run.config[SEED]
    described = {"seed": seed, "folder": run.name, "state": status.state}
    described |= status.results
    if status.measured_on:
        described["measured_on"] = status.measured_on
    if status.error:
        described["error"] = status.error
    return described


def _column_values(seeds: list[dict[str, Any]], column: str) -> list[float]:
    """The values of a column, of the seeds that have one."""
    return [seed[column] for seed in seeds if column in seed]


def _differing_keys(rows: list[dict[str, Any]]) -> list[str]:
    """The settings that are not the same in all rows, in the order in which they first come."""
    settings = [row["settings"] for row in rows]
    keys: dict[str, None] = {}  # as an ordered set
    for each in settings:
        keys |= dict.fromkeys(each)

    differing = []
    for key in keys:
        first = settings[0].get(key)
        if any(each.get(key) != first for each in settings):
            differing.append(key)
    return differing


def to_markdown(table: dict[str, Any]) -> str:
    """The table as Markdown; columns that are empty in all rows are left out."""
    rows = table["rows"]
    settings = table["settings"]
    columns = []
    for column in COLUMNS:
        if any(column in row["summary"] for row in rows):
            columns.append(column)

    titles = [COLUMNS[column] for column in columns]
    head = [*settings, *titles, "seeds"]
    rule = ["---"] * len(head)
    lines = [head, rule]

    # Settings, then results, then of how many seeds these are.
    for row in rows:
        line = [_setting_cell(row, key) for key in settings]
        line += [_result_cell(row, column) for column in columns]
        line.append(_seeds_cell(row))
        lines.append(line)

    text = ""
    for line in lines:
        text += f"| {' | '.join(line)} |\n"
    caption = CAPTION
    if table["measured_on"]:
        caption += f" Measured on {'; '.join(table['measured_on'])}."
    return f"{text}\n{caption}\n"


def _setting_cell(row: dict[str, Any], key: str) -> str:
    settings = row["settings"]
    if key not in settings:
        return ""
    # A bar would end the cell.
    return to_text(settings[key]).replace("|", "\\|")


def _result_cell(row: dict[str, Any], column: str) -> str:
    """A mean and its standard error, such as "85.0 ± 1.0", in bold where the row is the best."""
    summary = row["summary"].get(column)
    if summary is None:
        return ""
    # Accuracies in percent.
    scale, digits = 100, 1
    if column == "rankme_raw":
        scale = 1
    if column == "seconds":
        scale, digits = 1, 0

    mean, error = summary["mean"], summary["standard_error"]
    text = f"{scale * mean:.{digits}f}"
    if error is not None:
        text += f" ± {scale * error:.{digits}f}"
    if column in row["bold"]:
        return f"**{text}**"
    return text


def _seeds_cell(row: dict[str, Any]) -> str:
    """How many seeds the numbers are of, and whether some are missing or have failed."""
    states = [seed["state"] for seed in row["seeds"]]
    finished = states.count("finished")
    if "failed" in states:
        return f"failed ({finished} of {len(states)} finished)"
    if finished < len(states):
        return f"{finished} of {len(states)}"
    return str(finished)


def write_table(workdir: str, read_all: Callable[[], list[Status]]) -> str:
    """Writes table.md and table.json of the statuses that `read_all` returns.

    Several processes may do so at once: each file is renamed into place, and written again until
    nothing new was found since, so that the last to write has found all.

    Returns:
      The text of table.md.

    Raises:
      UserError: it cannot write.

    """
    folder = epath.Path(workdir)
    written = None
    table = make_table(read_all())
    with files.writing_to(workdir):
        folder.mkdir(parents=True, exist_ok=True)
        while table != written:
            text = json.dumps(table, indent=2)
            files.write_whole(folder / "table.md", to_markdown(table))
            files.write_whole(folder / "table.json", f"{text}\n")
            # Another process may have finished a run meanwhile.
            written = table
            table = make_table(read_all())
    return to_markdown(table)
