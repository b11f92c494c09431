"""BYOL (Grill et al., 2020): predict the other view's embedding in a target network.

    python -m lens_jax.main --config=configs/byol.py:glyphs --workdir=runs/byol
    python -m lens_jax.main --config=configs/byol.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops, textured_glyphs: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`.
- imagenet2012 (default), youtube8m, places205: the preset for 1000 epochs in byol/configs/byol.py
  of github.com/google-deepmind/deepmind-research (arXiv 2006.07733): batch 4096, LARS 0.2 x batch /
  256, decay 1.5e-6, 10 epochs of warm-up, the target network's momentum from 0.996, 4096-256. 74.0
  to 74.5 % top-1 by a linear classifier on ImageNet, in 8 hours on 512 TPU v3 cores, says its
  README. For 300 epochs the preset is 0.3, 1e-6 and 0.99; for 100 epochs 0.45, 1e-6 and 0.99.
- imagenet100: ResNet-18, batch 256 (2 x 128), 400 epochs, decay 1e-6, momentum from 0.99, 4096-256,
  of scripts/pretrain/imagenet-100/byol.yaml in github.com/vturrisi/solo-learn (commit 9187ea3),
  whose README has 80.3 % on it, 80.2 % by a classifier trained beside. Its LARS clips the trust
  ratio and its predictor is twice as wide; our rate is that of the authors' README for a ResNet-18
  on a small set, 2.0 for 256. Fifteen hours on an A100, we estimate.
- cifar10: ResNet-18, batch 512, 800 epochs, LARS 1.0 x batch / 256, decay 1e-6, momentum from
  0.996, of github.com/ADevillers/EquiMod (branch BYOL+EquiMod, arXiv 2211.01244), whose BYOL line
  has 90.4 %. Four hours on an A100, we estimate.
- image_folder: the views of ImageNet, 8 epochs by SGD, on one GPU.

None of the published ones was run here. The published networks normalize after each convolution,
ours before. --network=target of lens_jax.linear_eval evaluates the target network. There is no lens
unless asked for, with --config.lens.kind=network; its objective is `full`.

With --config.task.non_semantic=patch, quilting or texture, each view is repelled from a negative of
its own, by a loss that is our own choice, see `lens_jax.tasks.byol`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import (
    LAPTOP,
    LARGE,
    asymmetric_views,
    base_config,
    on_a_laptop,
    two_views,
    use_lars,
)


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {
            "name": "byol",
            "size": 0,
            "hidden": 4096,
            "embedding": 256,
            "momentum": 0.99,
            "non_semantic": "none",
            "alpha": 2.0,
            "patch_sides": (16 / 224, 72 / 224),
        }
    )
    two_views(config)
    asymmetric_views(config)
    if variant in LARGE:
        _imagenet(config)
    if variant == "imagenet100":
        _imagenet100(config)
    if variant == "cifar10":
        _cifar10(config)
    if variant in LAPTOP:
        on_a_laptop(config, variant)
        # The target network follows within ten steps.
        config.task.momentum = 0.9
        config.optimizer.learning_rate = 1.0
    return config.lock()


def _imagenet(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 4096
    config.train.duration = "1000 epochs"
    config.task.momentum = 0.996
    use_lars(config, learning_rate=0.2, weight_decay=1.5e-6)


def _imagenet100(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 256
    config.train.duration = "400 epochs"
    config.model.name = "resnet18"
    use_lars(config, learning_rate=2.0, weight_decay=1e-6)


def _cifar10(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 512
    config.train.duration = "800 epochs"
    config.task.momentum = 0.996
    # There blurred with 3 x 3 pixels, as here.
    config.augment.update({"area": (0.2, 1.0), "blur": 1.0})
    config.augment.later.blur = 0.1
    config.model.zero_init_residual = True
    use_lars(config, learning_rate=1.0, weight_decay=1e-6)
