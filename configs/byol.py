"""BYOL (Grill et al., 2020): predict the other view's embedding in a target network.

    python -m lens_jax.main --config=configs/byol.py:glyphs --workdir=runs/byol
    python -m lens_jax.main --config=configs/byol.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`. Letters get strong changes of brightness and contrast where the
  other methods invert some views: nothing repels here, and as little of an image can be predicted
  from its inverse, the features would stay as they were drawn. On glyphs a linear classifier on
  them is right for 39 % of the letters (`linear_eval --examples=5000`, seed 0), on those of a
  random network for 14 %.
- imagenet2012 (default), youtube8m, places205: views, heads and the target network's momentum as
  published for 100 epochs (arXiv 2006.07733), batch 1024, by SGD at 0.1 x batch / 256 where the
  paper has LARS. Not run here: no score.
- cifar10, image_folder: the same views, without blur on 32 px, 8 epochs, on one GPU.

There is no lens unless asked for, with --config.lens.kind=network; its objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import LAPTOP, LARGE, LETTERS, base_config, on_a_laptop, two_views


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {"name": "byol", "size": 0, "hidden": 4096, "embedding": 256, "momentum": 0.99}
    )
    two_views(config)
    blurs = config.data.image_size > 32
    config.augment.update(
        {
            "area": (0.08, 1.0),
            "flip": 0.5,
            "jitter": 0.8,
            "jitter_kind": "torchvision",
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.2,
            "hue": 0.1,
            "gray": 0.2,
            "blur": 1.0 if blurs else 0.0,
            "later": {"blur": 0.1 if blurs else 0.0, "solarize": 0.2},
        }
    )
    if variant in LARGE:
        config.dtype = "bfloat16"
        config.data.batch_size = 1024
        config.train.duration = "100 epochs"
        config.optimizer.warmup = "10 epochs"
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        # Small batches make more steps of an epoch, and the target network follows within ten.
        config.data.batch_size = 64
        config.task.momentum = 0.9
    if variant in LETTERS:
        config.augment.update({"jitter": 1.0, "brightness": 0.8, "contrast": 0.8, "solarize": 0.0})
        config.augment.later.solarize = 0.0
        config.train.duration = "8 epochs"
    return config.lock()
