"""Measures what the lens of a run changes, on images from all over the run's eval split."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from lens_jax.data.batches import Skipped, eval_batches
from lens_jax.data.decode import read_decoding
from lens_jax.data.selection import Selection
from lens_jax.data.source import open_source
from lens_jax.errors import UserError
from lens_jax.eval import frozen
from lens_jax.report import change
from lens_jax.report.runs import TrainedRun

MEASURED_IMAGES = 256  # images that the statistics are taken over
BATCH_SIZE = 64
Tile = Callable[[np.ndarray], np.ndarray]


class MeasuredLens(NamedTuple):
    """A lens on some images, to be shown, and the statistics of its changes over more of them.

    Attributes:
      inputs: views of the images to be shown, [N, h, w, 3] in [-1, 1]; those of an image lie next
        to each other.
      lensed: the same through the lens, not clipped.
      views_per_image: number of views of an image.
      statistics: what the lens changes, over more images.
      tiled: whether each view is several inputs of the extractor, laid out side by side.

    """

    inputs: np.ndarray
    lensed: np.ndarray
    views_per_image: int
    statistics: change.ChangeStatistics
    tiled: bool = False


def measure_lens(run: TrainedRun, examples: int, data_dir: str | None) -> MeasuredLens:
    """Applies the newest lens of a run to evenly spaced images of its eval split.

    Args:
      run: a run with a lens.
      examples: number of images to be shown.
      data_dir: where the data is now; None for where it was in training.

    Raises:
      UserError: the run has no checkpoint, or its images cannot be read.

    """
    loaded = frozen.load(run.workdir)
    images = _read_images(loaded.config, data_dir, max(MEASURED_IMAGES, examples))
    lens_effect = frozen.make_lens_effect(loaded)
    tile = loaded.system.task.tile

    # The examples, in all their views: evenly spaced, as the files of a folder are sorted by class.
    shown_count = min(examples, len(images))
    chosen = np.arange(shown_count) * len(images) // shown_count
    example_images = images[chosen]
    example_effect = lens_effect(example_images)
    shown = _tile_effect(tile, example_effect)
    views = len(shown.inputs) // len(example_images)

    # The statistics, batch by batch: all views of all images may not fit in memory.
    parts = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        effect = _tile_effect(tile, lens_effect(batch))
        parts.append(change.compute_statistics(*effect, views))

    return MeasuredLens(
        inputs=shown.inputs,
        lensed=shown.lensed,
        views_per_image=views,
        statistics=change.merge(parts),
        tiled=len(shown.inputs) < len(example_effect.inputs),
    )


def _tile_effect(tile: Tile, effect: frozen.LensEffect) -> frozen.LensEffect:
    return frozen.LensEffect(*[tile(views) for views in effect])


def _read_images(config: ConfigDict, data_dir: str | None, count: int) -> np.ndarray:
    """Evenly spaced images of the eval split, `count` or all there are, uint8 [B, h, w, 3]."""
    data = config.data
    folder = data.dir if data_dir is None else data_dir
    selection = Selection(boxes=data.boxes)
    source = open_source(data.name, data.eval_split, folder, data.classes, selection)
    source = source.subsample(count)
    skipped = Skipped(source)
    batches = eval_batches(
        source,
        skipped,
        batch_size=BATCH_SIZE,
        image_size=data.image_size,
        crop=data.eval_crop,
        decoding=read_decoding(data),
    )

    # The mask leaves out images that do not decode and the filling of the last batch.
    decoded = [batch["image"][batch["mask"]] for batch in batches]
    skipped.check(data.max_skipped)
    images = np.concatenate(decoded)
    if not len(images):
        raise UserError(
            f"no image of {source.dataset} {source.split} decodes: give another --data_dir"
        )
    return images
