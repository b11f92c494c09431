"""The sections of the page: their order, their tables and their sentences."""

import shlex
from collections.abc import Iterable
from typing import Any

from lens_jax.eval.features import REPRESENTATIONS
from lens_jax.pages import page
from lens_jax.pages.page import Part
from lens_jax.report import pictures, runs
from lens_jax.report.curves import curve_pictures
from lens_jax.report.measure import MeasuredLens
from lens_jax.report.recovery import Recovery
from lens_jax.report.runs import Numbers, TrainedRun
from lens_jax.report.suites import suites_section

TITLE = "What the lens removed"
LEAD = (
    "A lens is a small network that redraws every image before the feature extractor sees it. It "
    "learns to take away what makes the pretext task too easy and to leave the rest as it is. "
    "Below, images stand beside what the lens made of them."
)
GLOSSARY = (
    "Linear accuracy: how well a linear classifier names the classes from the frozen features of "
    "images as they are (raw), of images through the lens (lensed), or of both side by side, which "
    "are twice as many (concat). "
    "Pretext: how often the extractor solves the task it was trained on, for images without a "
    "shortcut and with one; high with it and low without it means that the extractor uses the "
    "shortcut; a task without classes has none. Lens: what altered images in training, a network "
    "(the lens) or, to compare it with, perturbations that are random or found by fgsm or pgd; "
    "runs with these are evaluated on images as they are."
)
TILED = (
    "The task shows the extractor nine patches of an image. They are laid out here as they lie in "
    "it, without what is between them."
)
NO_LENS = "No lens was trained here, so there is nothing removed to show."
# The columns of numbers, in the tables of runs; one that no run has a number for is left out.
LINEAR_COLUMNS = {f"linear_accuracy_{name}": f"linear {name}" for name in REPRESENTATIONS}
NUMBER_COLUMNS = LINEAR_COLUMNS | {
    "pretext_accuracy_clean": "pretext clean",
    "pretext_accuracy_shortcut": "pretext with shortcut",
    "seconds": "seconds",
}
# What is recovered of, in words.
MEASURES = {
    "raw": "linear accuracy, raw features",
    "concat": "linear accuracy, raw and lensed features (twice as many)",
    "pretext": "pretext accuracy, clean images",
}
SETTING_COLUMNS = ("data set", "task", "shortcut", "lens", "objective", "epochs")
UNKNOWN = "-"


def all_sections(
    workdir: str,
    found: list[TrainedRun],
    lenses: dict[str, MeasuredLens],
    numbers: dict[str, Numbers],
    recoveries: dict[str, list[Recovery]],
) -> list[Part]:
    """The whole page on the runs `found` in `workdir`; the dictionaries are by run name."""
    parts = [page.paragraph(LEAD), *runs_section(found, numbers), *recovery_section(recoveries)]
    for name, lens in lenses.items():
        parts += lens_section(name, lens, numbers[name])
    if not lenses:
        parts.append(page.paragraph(NO_LENS))
    parts += suites_section(found)
    parts += training_section(found)
    parts += settings_section(found)
    parts += commands_section(workdir, found)
    return parts


def runs_section(found: list[TrainedRun], numbers: dict[str, Numbers]) -> list[Part]:
    """The table of the runs."""
    columns = _known_columns(numbers)
    titles = columns.values()
    header = ["run", *titles, "measured on", *SETTING_COLUMNS]

    # A row a run.
    rows = []
    for run in found:
        own = numbers[run.name]
        cells = _number_cells(own, columns)
        measured_on = run.measured_on or UNKNOWN
        settings = _setting_cells(run)
        rows.append([run.name, *cells, measured_on, *settings])

    title = "The run"
    if len(found) > 1:
        title = "The runs"
    return [
        page.heading(title),
        page.table(header, rows),
        page.paragraph(GLOSSARY),
    ]


def recovery_section(recoveries: dict[str, list[Recovery]]) -> list[Part]:
    """What each lens or attack wins back of what the shortcut cost; nothing without references."""
    rows = []
    for name, each in recoveries.items():
        for recovery in each:
            measure = MEASURES[recovery.measure]
            cost = _points(recovery.cost)
            left = _points(recovery.left)
            recovered = f"none: {_points(recovery.noise)} are noise"
            if recovery.fraction is not None:
                recovered = f"{100 * recovery.fraction:.0f} %"
            rows.append([name, measure, cost, left, recovered])
    if not rows:
        return []
    header = ["run", "measured by", "the shortcut costs", "left of that", "recovered"]
    return [page.subheading("What was recovered"), page.table(header, rows)]


def recovery_lines(recoveries: dict[str, list[Recovery]]) -> list[str]:
    """The same as lines of plain text."""
    lines = []
    for name, each in recoveries.items():
        if each:
            lines.append(f"\n{name}, of what the shortcut cost:")
        for recovery in each:
            measure = MEASURES[recovery.measure]
            cost = _points(recovery.cost)
            if recovery.fraction is None:
                found = f"it cost {cost}, within the noise of {_points(recovery.noise)}"
            else:
                recovered = f"{100 * recovery.fraction:.0f} %"
                found = f"recovered {recovered} of {cost}, {_points(recovery.left)} are left"
            lines.append(f"  {measure}: {found}")
    return lines


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"


def _known_columns(numbers: dict[str, Numbers]) -> dict[str, str]:
    """The columns that some run has a number for."""
    known = set()
    for run_numbers in numbers.values():
        known.update(run_numbers)

    columns = {}
    for key, title in NUMBER_COLUMNS.items():
        if key in known:
            columns[key] = title
    return columns


def measured_on(found: list[TrainedRun]) -> list[str]:
    """The data that the numbers of the runs were measured on, one a line, with their names."""
    names: dict[str, list[str]] = {}
    for run in found:
        if run.measured_on:
            names.setdefault(run.measured_on, []).append(run.name)
    return [f"{', '.join(measured)}: measured on {data}" for data, measured in names.items()]


def text_table(numbers: dict[str, Numbers]) -> str:
    """The numbers of each run, by its name, as columns of plain text, aligned on the right."""
    columns = _known_columns(numbers)
    rows = [["run", *columns.values()]]
    for name, run_numbers in numbers.items():
        rows.append([name, *_number_cells(run_numbers, columns)])
    # A column is as wide as its longest cell.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = map(str.rjust, row, widths)
        lines.append("  ".join(padded))
    return "\n".join(lines)


def _number_cells(numbers: Numbers, columns: Iterable[str]) -> list[str]:
    cells = []
    for key in columns:
        if key not in numbers:
            cells.append(UNKNOWN)
        elif key == "seconds":
            cells.append(f"{numbers[key]:.0f}")
        else:
            cells.append(_percent(numbers[key]))
    return cells


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _setting_cells(run: TrainedRun) -> list[str]:
    config = run.config
    objective = config["lens"]["objective"]
    if run.kind in ("none", "random"):
        # Images were not altered, or at random: no objective was followed.
        objective = UNKNOWN
    epochs = UNKNOWN
    if run.rows:
        epochs = f"{run.rows[-1]['epoch']:.1f}"
    return [
        config["data"]["name"],
        config["task"]["name"],
        config["shortcut"],
        run.kind,
        objective,
        epochs,
    ]


def lens_section(name: str, lens: MeasuredLens, numbers: Numbers) -> list[Part]:
    """What the lens of the run `name` does to images."""
    parts = [page.heading(f"The lens of run {name}")]
    parts += _pretext_through_lens(numbers)
    if lens.tiled:
        parts.append(page.paragraph(TILED))
    parts.append(page.paragraph(pictures.difference_key(lens)))

    # Its examples.
    views = pictures.view_pictures(name, lens)
    if views:
        parts.append(page.subheading("The same image in every view"))
        parts.append(views)
    parts.append(page.subheading("Images"))
    parts.append(pictures.example_pictures(name, lens))

    # Its statistics.
    parts.append(page.subheading("Where it changes images"))
    parts += _change_in_shortcut(numbers)
    parts.append(pictures.map_pictures(name, lens.statistics))
    parts.append(page.subheading("What it changes most and least"))
    parts.append(pictures.ranked_pictures(name, lens.statistics))
    return parts


def _pretext_through_lens(numbers: Numbers) -> list[Part]:
    clean = numbers.get("pretext_accuracy_clean_lensed")
    shortcut = numbers.get("pretext_accuracy_shortcut_lensed")
    if clean is None or shortcut is None:
        return []
    sentence = (
        f"Through the lens, the extractor solves the pretext task in {_percent(clean)} of the "
        f"cases without the shortcut and in {_percent(shortcut)} of those with it."
    )
    return [page.paragraph(sentence)]


def _change_in_shortcut(numbers: Numbers) -> list[Part]:
    if "change_fraction_in_mask" not in numbers:
        return []
    change_in_mask = _percent(numbers["change_fraction_in_mask"])
    mask = _percent(numbers["mask_fraction"])
    change_in_places = _percent(numbers["change_fraction_in_places"])
    places = _percent(numbers["places_fraction"])
    sentence = (
        f"{change_in_mask} of the squared change lies inside the shortcut's mask, which covers "
        f"{mask} of the pixels; {change_in_places} lies in the places where the shortcut can be "
        f"in some view, {places} of the pixels."
    )
    return [page.paragraph(sentence)]


def training_section(found: list[TrainedRun]) -> list[Part]:
    """The training curves."""
    curves = curve_pictures(found) or page.paragraph("Nothing was logged yet.")
    return [page.heading("Training"), curves]


def settings_section(found: list[TrainedRun]) -> list[Part]:
    """The settings that are not the same in all runs; none where all are, or of one run."""
    differing = runs.differing_settings(found)
    if not differing:
        return []
    header = ["setting", *(run.name for run in found)]
    rows = []
    for key, values in differing.items():
        rows.append([key, *map(_setting, values)])
    return [page.heading("Settings that differ"), page.table(header, rows)]


def _setting(value: Any) -> str:
    return UNKNOWN if value is None else str(value)


def commands_section(workdir: str, found: list[TrainedRun]) -> list[Part]:
    """The commands that make this page again, show the metrics, and train each run again."""
    folder = shlex.quote(workdir)
    report = f"python -m lens_jax.report --workdir={folder}"
    tensorboard = f"tensorboard --logdir={folder}"
    parts = [
        page.heading("Commands"),
        page.command(f"{report}\n{tensorboard}"),
    ]
    for run in found:
        again = page.command(runs.training_command(run))
        parts.append(page.folded(f"Train {run.name} again", again))
    return parts
