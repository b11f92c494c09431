"""The sections of the page: their order, their tables and their sentences."""

import shlex
from typing import Any

from lens_jax.pages import page
from lens_jax.pages.page import Part
from lens_jax.report import pictures, runs
from lens_jax.report.curves import curve_pictures
from lens_jax.report.measure import MeasuredLens
from lens_jax.report.runs import Numbers, TrainedRun

TITLE = "What the lens removed"
LEAD = (
    "A lens is a small network that redraws every image before the feature extractor sees it. It "
    "learns to take away what makes the pretext task too easy and to leave the rest as it is. "
    "Below, images stand beside what the lens made of them."
)
GLOSSARY = (
    "Linear accuracy: how well a linear classifier names the classes from the frozen features. "
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
# The columns of numbers, in the tables of runs.
NUMBER_COLUMNS = {
    "linear_accuracy": "linear accuracy",
    "pretext_accuracy_clean": "pretext clean",
    "pretext_accuracy_shortcut": "pretext with shortcut",
    "seconds": "seconds",
    "recovered": "recovered",
}
SETTING_COLUMNS = ("data set", "task", "shortcut", "lens", "objective", "epochs")
UNKNOWN = "-"


def all_sections(
    workdir: str,
    found: list[TrainedRun],
    lenses: dict[str, MeasuredLens],
    numbers: dict[str, Numbers],
) -> list[Part]:
    """The whole page on the runs `found` in `workdir`; `lenses` and `numbers` are by run name."""
    parts = [page.paragraph(LEAD), *runs_section(found, numbers)]
    for name, lens in lenses.items():
        parts += lens_section(name, lens, numbers[name])
    if not lenses:
        parts.append(page.paragraph(NO_LENS))
    parts += training_section(found)
    parts += settings_section(found)
    parts += commands_section(workdir, found)
    return parts


def runs_section(found: list[TrainedRun], numbers: dict[str, Numbers]) -> list[Part]:
    """The table of the runs, and in words what each lens or attack recovered."""
    header = ["run", *NUMBER_COLUMNS.values(), "measured on", *SETTING_COLUMNS]
    rows = []
    sentences = []
    for run in found:
        run_numbers = numbers[run.name]
        measured_on = run.measured_on or UNKNOWN
        cells = [*_number_cells(run_numbers), measured_on, *_setting_cells(run)]
        rows.append([run.name, *cells])
        if "recovered" in run_numbers:
            sentences.append(_recovery(run, found, run_numbers))
    title = "The runs" if len(found) > 1 else "The run"
    return [
        page.heading(title),
        page.table(header, rows),
        *map(page.paragraph, sentences),
        page.paragraph(GLOSSARY),
    ]


def measured_on(found: list[TrainedRun]) -> str:
    """The data that the numbers of the runs were measured on, one a line, with their names."""
    names: dict[str, list[str]] = {}
    for run in found:
        if run.measured_on:
            names.setdefault(run.measured_on, []).append(run.name)
    lines = []
    for data, measured in names.items():
        lines.append(f"{', '.join(measured)}: measured on {data}")
    return "\n".join(lines)


def text_table(numbers: dict[str, Numbers]) -> str:
    """The numbers of each run, by its name, as columns of plain text, aligned on the right."""
    rows = [["run", *NUMBER_COLUMNS.values()]]
    for name, run_numbers in numbers.items():
        rows.append([name, *_number_cells(run_numbers)])
    # A column is as wide as its longest cell.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = map(str.rjust, row, widths)
        lines.append("  ".join(padded))
    return "\n".join(lines)


def _number_cells(numbers: Numbers) -> list[str]:
    cells = []
    for key in NUMBER_COLUMNS:
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


def _recovery(run: TrainedRun, found: list[TrainedRun], numbers: Numbers) -> str:
    references = runs.find_references(run, found)
    clean = references.clean
    shortcut = references.shortcut
    clean_accuracy = _percent(clean.linear_accuracy)
    shortcut_accuracy = _percent(shortcut.linear_accuracy)
    accuracy = _percent(run.linear_accuracy)
    recovered = f"{100 * numbers['recovered']:.0f} %"
    means = "the lens" if run.has_lens else f"{run.kind} perturbations"
    return (
        f"{run.name} recovered {recovered} of what the shortcut cost: linear accuracy is "
        f"{clean_accuracy} without the shortcut ({clean.name}), {shortcut_accuracy} with it "
        f"({shortcut.name}), and {accuracy} with it and {means}. "
        f"Measured on {run.measured_on}."
    )


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
