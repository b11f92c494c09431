"""EquiMod (Devillers & Lefort, 2022): a contrastive method that also predicts its augmentations.

    python -m lens_jax.main --config=configs/equimod.py:glyphs --workdir=runs/equimod
    python -m lens_jax.main --config=configs/equimod.py:glyphs+byol --workdir=runs/equimod_byol
    python -m lens_jax.main --config=configs/equimod.py --workdir=gs://BUCKET/RUN

The base method stands after the data set: simclr (the default), byol, barlow_twins or moco. All
that is not said here is as in its own config, configs/simclr.py and so on, so that the two differ
in EquiMod alone; --config.task.base.temperature and the like change it.

- glyphs, digits, fashion_mnist, photo_crops: minutes on a laptop, as the base method. On glyphs a
  linear classifier on the features (`linear_eval --examples=5000`, three seeds) is right for 97 %
  of the letters with simclr and 93 % with byol, after 6 epochs; on those of a random network for
  15 %.
- imagenet2012 (default), cifar10 with simclr or byol: settings of github.com/ADevillers/EquiMod
  (branches SimCLR+EquiMod and BYOL+EquiMod, arXiv 2211.01244), linear classifier on the features:

      SimCLR, ImageNet, 800 epochs: 72.30 % (without EquiMod, their own run: 71.57)
      BYOL, ImageNet, 1000 epochs: 73.22 % (74.03)
      SimCLR, CIFAR-10, 800 epochs: 92.79 % (90.96)
      BYOL, CIFAR-10, 800 epochs: 91.57 % (90.44)

  ResNet-50 with batch 4096 and ResNet-18 with batch 512, LARS, L_eq with weight 1 at temperature
  0.2, 2048-2048-128. A step costs half as much again as without, for the third view.
- Everything else is the base method's own recipe with EquiMod beside it: no published score.

None of the published ones was run here. Four things differ from the authors' code: our networks
normalize before each convolution; SimCLR's projector has one hidden layer, theirs two; on ImageNet
the image as it is is a square of 256 px resized to 224, where theirs is the middle of it; and the
parameters of the augmentations are standardized by the moments that they have here, see
lens_jax/tasks/equimod.py.

There is no lens unless asked for, with --config.lens.kind=network; its objective is `full`.
"""

import pathlib

from ml_collections import ConfigDict

from lens_jax.command_line import load_config
from lens_jax.errors import check_choice
from lens_jax.recipes import LAPTOP, LARGE, use_lars

BASES = ("simclr", "byol", "barlow_twins", "moco")


def get_config(variant: str = "imagenet2012") -> ConfigDict:
    """The config for one of `lens_jax.defaults.DATASETS`, with a base such as "+byol"; locked."""
    dataset, _, base = variant.partition("+")
    base = base or "simclr"
    check_choice("base of equimod", base, BASES)
    # The base method's own config, which lies beside this one.
    path = pathlib.Path(__file__).with_name(f"{base}.py")
    config = load_config(f"{path}:{dataset}").unlock()
    if base == "simclr":
        _published_simclr(config, dataset)
    if base == "byol" and dataset in LARGE:
        use_lars(config, learning_rate=0.3, weight_decay=1.5e-6)

    config.task = ConfigDict(
        {
            "name": "equimod",
            "base": config.task,
            "weight": 1.0,
            "temperature": 0.2,
            "siblings": True,
            "hidden": 2048,
            "embedding": 128,
            "parameters": 128,
        }
    )
    if dataset in LAPTOP:
        config.task.update({"hidden": 256, "embedding": 64, "parameters": 64})
    return config.lock()


def _published_simclr(config: ConfigDict, dataset: str) -> None:
    """What the authors' SimCLR has other than ours; of BYOL, ours for CIFAR-10 is theirs."""
    if dataset in LARGE:
        config.train.duration = "800 epochs"
        config.task.temperature = 0.2
        use_lars(config, learning_rate=0.15, weight_decay=1e-6)
    if dataset == "cifar10":
        config.train.duration = "800 epochs"
        config.augment.area = (0.2, 1.0)
        config.task.hidden = 2048
        use_lars(config, learning_rate=2.0, weight_decay=1e-6)
