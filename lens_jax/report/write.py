"""The report from run folders to page: what is read, what is looked at, what is written."""

import itertools
import json
from collections.abc import Callable

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from lens_jax.data.batches import Skipped, eval_batches
from lens_jax.data.source import open_source
from lens_jax.errors import UserError
from lens_jax.eval import frozen
from lens_jax.pages import html
from lens_jax.report import change as changes
from lens_jax.report import chapters, runs
from lens_jax.report.pictures import Look
from lens_jax.report.runs import Run
from lens_jax.workdir import files

SURVEYED = 256  # images that means and orders are taken over
BATCH_SIZE = 64
LensEffect = Callable[[np.ndarray], frozen.Effect]


def write_report(workdir: str, *, examples: int, data_dir: str | None) -> None:
    """Writes the page on the run or runs in `workdir`, and prints where it is and the runs'
    numbers.

    Args:
      workdir: folder of a run, or of runs; the latter gets a summary.json too.
      examples: number of images to show through each lens.
      data_dir: where the data is now; None for where it was in training.

    Raises:
      UserError: no run there, a lens run without checkpoint, or data that cannot be read.

    """
    found = runs.find_runs(workdir)
    looks = {run.name: look_through(run, examples, data_dir) for run in found if run.has_lens}
    numbers = {run.name: runs.summarize(run, found) for run in found}
    for name, look in looks.items():
        numbers[name] |= changes.shares(look.change)
    root = epath.Path(workdir)
    _write_page(root / files.REPORT_FOLDER, chapters.tell(workdir, found, looks, numbers))
    if not files.is_run(workdir):
        (root / files.SUMMARY_FILE).write_text(json.dumps(numbers, indent=2) + "\n")
    print(
        f"the report is {root / files.REPORT_FOLDER / 'index.html'}\n\n{chapters.text_table(numbers)}"
    )


def look_through(run: Run, examples: int, data_dir: str | None) -> Look:
    """Puts the first images of a run's eval split through its newest lens.

    Raises `UserError` where the run has no checkpoint, or where its images cannot be read.
    """
    loaded = frozen.load(run.workdir)
    images = _read_images(loaded.config, data_dir, max(SURVEYED, examples))
    effect, patches = frozen.make_lens_effect(loaded), "patch" in loaded.config.task
    if patches:
        effect = _laid_out(effect)
    shown = effect(images[:examples])
    views = len(shown.inputs) // len(images[:examples])
    starts = range(0, len(images), BATCH_SIZE)
    effects = (effect(images[start : start + BATCH_SIZE]) for start in starts)
    change = changes.join(changes.measure(*each, views) for each in effects)
    return Look(shown.inputs, shown.lensed, views, change, patches)


def _laid_out(effect: LensEffect) -> LensEffect:
    """The same on the nine patches of each image put together."""
    return lambda images: frozen.Effect(*map(changes.lay_out, effect(images)))


def _read_images(config: ConfigDict, data_dir: str | None, count: int) -> np.ndarray:
    """The first `count` images of the eval split, or all there are, uint8 [B, h, w, 3]."""
    data = config.data
    source = open_source(data.name, data.eval_split, data.dir if data_dir is None else data_dir)
    skipped = Skipped(source)
    batches = eval_batches(
        source, skipped, batch_size=BATCH_SIZE, image_size=data.image_size, crop=data.eval_crop
    )
    needed = itertools.islice(batches, -(-count // BATCH_SIZE))
    images = np.concatenate([batch["image"][batch["mask"]] for batch in needed])[:count]
    skipped.check(data.max_skipped)
    if not len(images):
        raise UserError(
            f"no image of {data.name} {data.eval_split} decodes: give another --data_dir"
        )
    return images


def _write_page(folder: epath.Path, parts: list[html.Part]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for picture in part if isinstance(part, list) else []:
            (folder / picture.file).write_bytes(picture.png)
    (folder / "index.html").write_text(html.document(chapters.TITLE, parts))
