"""The report from run folders to page: reads the runs, measures their lenses, writes the files."""

import json

from etils import epath

from lens_jax.pages import page
from lens_jax.report import change, runs, sections
from lens_jax.report.measure import measure_lens
from lens_jax.workdir import files


def write_report(workdir: str, *, examples: int, data_dir: str | None) -> None:
    """Writes the page on the run or runs in `workdir`, and prints its path and their numbers.

    Args:
      workdir: folder of a run, or of runs; the latter gets a summary.json too.
      examples: number of images to show through each lens.
      data_dir: where the data is now; None for where it was in training.

    Raises:
      UserError: no run there, a lens run without checkpoint, or data that cannot be read.

    """
    found = runs.find_runs(workdir)
    lenses = {run.name: measure_lens(run, examples, data_dir) for run in found if run.has_lens}
    numbers = {run.name: runs.summarize(run, found) for run in found}
    for name, lens in lenses.items():
        numbers[name] |= change.shortcut_fractions(lens.statistics)

    root = epath.Path(workdir)
    folder = root / files.REPORT_FOLDER
    _write_page(folder, sections.all_sections(workdir, found, lenses, numbers))
    if not files.is_run(workdir):
        (root / files.SUMMARY_FILE).write_text(json.dumps(numbers, indent=2) + "\n")
    print(f"the report is {folder / 'index.html'}\n\n{sections.text_table(numbers)}")


def _write_page(folder: epath.Path, parts: list[page.Part]) -> None:
    """Writes the page, and its pictures as files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    galleries = [part for part in parts if isinstance(part, list)]
    for gallery in galleries:
        for picture in gallery:
            (folder / picture.file).write_bytes(picture.png)
    (folder / "index.html").write_text(page.document(sections.TITLE, parts))
