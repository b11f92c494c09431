"""The report from run folders to page: reads the runs, measures their lenses, writes the files."""

import json

from etils import epath

from lens_jax.pages import page
from lens_jax.report import change, recovery, runs, sections
from lens_jax.report.measure import measure_lens
from lens_jax.report.runs import Numbers, TrainedRun
from lens_jax.workdir import files


def write_report(workdir: str, *, examples: int, data_dir: str | None, output: str = "") -> None:
    """Writes the page on the run or runs in `workdir`, and prints its path and their numbers.

    Args:
      workdir: folder of a run, or of runs; the latter get a summary.json too.
      examples: number of images to show through each lens.
      data_dir: where the data is now; None for where it was in training.
      output: folder to write into; empty for `workdir`.

    Raises:
      UserError: no run there, a lens run without checkpoint, data that cannot be read, or a folder
        that cannot be written.

    """
    found = runs.find_runs(workdir)

    # What is known of each run: from its files, beside the others, and by applying its lens.
    numbers = {}
    recoveries = {}
    lenses = {}
    for run in found:
        recoveries[run.name] = recovery.find_recoveries(run, found)
        numbers[run.name] = runs.summarize(run) | recovery.fractions(recoveries[run.name])
        if run.has_lens:
            lens = measure_lens(run, examples, data_dir)
            lenses[run.name] = lens
            numbers[run.name] |= change.shortcut_fractions(lens.statistics)

    # Printed first, so that nothing is lost where it cannot be written.
    print(sections.text_table(numbers))
    for line in (*sections.measured_on(found), *sections.recovery_lines(recoveries)):
        print(line)

    # The page, its pictures and the summary.
    output = output or workdir
    root = epath.Path(output)
    folder = root / files.REPORT_FOLDER
    parts = sections.all_sections(workdir, found, lenses, numbers, recoveries)
    with files.writing_to(output):
        _write_page(folder, parts)
        if not files.is_run(workdir):
            _write_summary(root, found, numbers)
    print(f"\nthe report is {folder / 'index.html'}")


def _write_summary(root: epath.Path, found: list[TrainedRun], numbers: dict[str, Numbers]) -> None:
    """Writes the numbers of all runs, and on what they were measured."""
    summary = {}
    for run in found:
        data = {"measured_on": run.measured_on} if run.measured_on else {}
        summary[run.name] = numbers[run.name] | data
    text = json.dumps(summary, indent=2)
    files.write_whole(root / files.SUMMARY_FILE, f"{text}\n")


def _write_page(folder: epath.Path, parts: list[page.Part]) -> None:
    """Writes the page, and its pictures as files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if isinstance(part, list):
            for picture in part:
                path = folder / picture.file
                path.write_bytes(picture.png)
    document = page.document(sections.TITLE, parts)
    (folder / "index.html").write_text(document)
