"""Barlow Twins (Zbontar et al., 2021): alike in each number, the numbers unlike each other.

    python -m lens_jax.main --config=configs/barlow_twins.py:glyphs --workdir=runs/barlow_twins
    python -m lens_jax.main --config=configs/barlow_twins.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`. On glyphs after 6 epochs a linear classifier on the features is
  right for 33 % of the letters (`linear_eval --examples=5000`, seed 0), on those of a random
  network for 14 %.
- imagenet2012 (default), youtube8m, places205: views, projector and loss as published (arXiv
  2103.03230) and in the authors' code, and 100 epochs of batch 1024, by SGD at 0.1 x batch / 256
  where the paper has LARS. Not run here: no score.
- cifar10, image_folder: the same views, without blur on 32 px, 8 epochs, on one GPU; on CIFAR-10
  the projector and the scale of solo-learn's config, 2048 wide and 0.1.

There is no lens unless asked for, with --config.lens.kind=network; its objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import (
    LAPTOP,
    LARGE,
    asymmetric_views,
    base_config,
    on_a_laptop,
    two_views,
)


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {
            "name": "barlow_twins",
            "size": 0,
            "hidden": 8192,
            "embedding": 8192,
            "off_diagonal": 0.0051,
            "scale": 0.024,
        }
    )
    two_views(config)
    asymmetric_views(config)
    if variant in LARGE:
        config.dtype = "bfloat16"
        config.data.batch_size = 1024
        config.train.duration = "100 epochs"
        config.optimizer.warmup = "10 epochs"
    if variant == "cifar10":
        config.task.update({"hidden": 2048, "embedding": 2048, "scale": 0.1})
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        # Many numbers to correlate, and small batches, which make more steps of an epoch.
        config.task.embedding = 256
        config.task.scale = 0.1
        config.data.batch_size = 64
        config.optimizer.learning_rate = 0.6
    return config.lock()
