"""SimCLR (Chen et al., 2020): two views of each image against all others of the batch.

    python -m lens_jax.main --config=configs/simclr.py:glyphs --workdir=runs/simclr
    python -m lens_jax.main --config=configs/simclr.py --workdir=gs://BUCKET/RUN

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, see
  `lens_jax.recipes.on_a_laptop`.
- imagenet2012 (default), youtube8m, places205: the settings that the README of
  github.com/google-research/simclr (commit 0075cc0) gives as the paper's (arXiv 2002.05709) for 100
  epochs: batch 4096, LARS 0.3 x batch / 256 = 0.075 sqrt(batch) = 4.8, decay 1e-6, 10 epochs of
  warm-up, temperature 0.1, 2048-128 with BatchNorm at the end. 64.5 % top-1 by a linear classifier
  on ImageNet; 6 hours on 32 TPU v3 chips, says the README.
- imagenet100: ResNet-18, batch 256 (2 x 128), 400 epochs, decay 1e-4, temperature 0.2, 4096-512, of
  scripts/pretrain/imagenet-100/simclr.yaml in github.com/vturrisi/solo-learn (commit 9187ea3),
  whose README has 77.6 % on it by a classifier trained beside. Its LARS clips the trust ratio; in
  place of its rate we take the paper's rule for small batches, 0.075 sqrt(batch) (appendix B.1).
  Ten hours on an A100, we estimate.
- cifar10: ResNet-18, batch 512, 1000 epochs, LARS 1.0 x batch / 256, decay 1e-4 (1e-6 in that
  commit, 1e-4 since), temperature 0.5, no blur, half the color jitter, of the authors' README:
  "around 91 %". Three hours on an A100, we estimate.
- image_folder: the views of ImageNet, 8 epochs by SGD, on one GPU.

None of the published ones was run here. The published networks normalize after each convolution;
ours before, see lens_jax/models/resnet.py, and their last convolutions start as zero where the
authors' last scales do (`model.zero_init_residual`). There is no lens unless asked for, with
--config.lens.kind=network; its objective is `full`.
"""

from ml_collections import ConfigDict

from lens_jax.recipes import LAPTOP, LARGE, base_config, on_a_laptop, two_views, use_lars


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, locked."""
    config = base_config(variant)
    config.task = ConfigDict(
        {
            "name": "simclr",
            "size": 0,
            "hidden": 2048,
            "embedding": 128,
            "temperature": 0.1,
            "last_norm": False,
        }
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
        _imagenet(config)
    if variant == "imagenet100":
        _imagenet100(config)
    if variant == "cifar10":
        _cifar10(config)
    if variant in LAPTOP:
        on_a_laptop(config, variant)
    return config.lock()


def _imagenet(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 4096
    config.train.duration = "100 epochs"
    config.task.last_norm = True
    config.model.zero_init_residual = True
    use_lars(config, learning_rate=0.3, weight_decay=1e-6)


def _imagenet100(config: ConfigDict) -> None:
    config.dtype = "bfloat16"
    config.data.batch_size = 256
    config.train.duration = "400 epochs"
    config.model.name = "resnet18"
    config.task.update({"hidden": 4096, "embedding": 512, "temperature": 0.2})
    # 0.075 sqrt(256)
    use_lars(config, learning_rate=1.2, weight_decay=1e-4)


def _cifar10(config: ConfigDict) -> None:
    config.data.batch_size = 512
    config.train.duration = "1000 epochs"
    config.task.update({"hidden": 512, "temperature": 0.5, "last_norm": True})
    config.augment.update({"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1})
    config.model.zero_init_residual = True
    use_lars(config, learning_rate=1.0, weight_decay=1e-4)
