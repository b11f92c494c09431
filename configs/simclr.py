"""SimCLR (Chen et al., 2020): two views of each image against all others of the batch.

    python -m lens_jax.main --config=configs/simclr.py:glyphs --workdir=runs/simclr
    python -m lens_jax.main --config=configs/simclr.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`.
- imagenet2012 (default), youtube8m, places205: views and head as published (arXiv 2002.05709), and
  100 epochs of batch 1024, by SGD at 0.1 x batch / 256 where the paper has LARS. Not run here: no
  score.
- cifar10, image_folder: the same views, without blur on 32 px, 8 epochs, on one GPU.

There is no lens unless asked for, with --config.lens.kind=network; its objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import LAPTOP, LARGE, base_config, on_a_laptop, two_views


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {"name": "simclr", "size": 0, "hidden": 2048, "embedding": 128, "temperature": 0.1}
    )
    two_views(config)
    config.augment.update(
        {
            "area": (0.08, 1.0),
            "flip": 0.5,
            "jitter": 0.8,
            "jitter_kind": "torchvision",
            "brightness": 0.8,
            "contrast": 0.8,
            "saturation": 0.8,
            "hue": 0.2,
            "gray": 0.2,
            "blur": 0.5 if config.data.image_size > 32 else 0.0,
        }
    )
    if variant in LARGE:
        config.dtype = "bfloat16"
        config.data.batch_size = 1024
        config.train.duration = "100 epochs"
        config.optimizer.warmup = "10 epochs"
    if variant in LAPTOP:
        on_a_laptop(config, variant)
    return config.lock()
