"""What config files share: the defaults set up for a data set, a schedule, or patches."""

from ml_collections import ConfigDict

from lens_jax.defaults import DATASETS, DEFAULTS
from lens_jax.errors import check_choice


def base_config(dataset: str) -> ConfigDict:
    """Every key there is, set for training on `dataset`; not locked yet, for a config file to fill.

    Raises `UserError` for a data set that is not in `lens_jax.defaults.DATASETS`.
    """
    check_choice("config variant", dataset, tuple(DATASETS))
    config = ConfigDict(DEFAULTS)
    config.update(DATASETS[dataset])
    return config


LARGE = ("imagenet2012", "youtube8m", "places205")


def train_long(config: ConfigDict, batch_size: int) -> None:
    """The schedule of revisiting-self-supervised, whose settings the lens paper says it follows.

    35 epochs, learning rate 0.1 x batch / 256 with 5 epochs of warm-up, times 0.1 at epochs 15 and
    25.
    """
    config.dtype = "bfloat16"
    config.data.batch_size = batch_size
    config.train.duration = "35 epochs"
    config.optimizer.warmup = "5 epochs"
    config.optimizer.schedule = "step"
    config.optimizer.decay_at = ("15 epochs", "25 epochs")


def cut_patches(config: ConfigDict) -> dict[str, int]:
    """Sets data, network and augmentation up for tasks on nine patches; gives their cell and patch
    in px.

    For photographs as in revisiting-self-supervised: resized to 292 px, gray with probability 0.66,
    cells of 85 px, patches of 64 px that are standardized each, a root and a last stage of stride
    1, head weight decay 5e-4; in linear evaluation the central 192 px of a shorter side of 224.
    Small images keep these proportions, and glyphs are rendered at 64 px for it.
    """
    config.augment = {"gray": 0.66, "flip": False, "color": False}
    config.model.last_stride = 1
    config.model.standardize = True
    config.optimizer.head_weight_decay = 5e-4
    config.data.crop = "none"
    config.data.eval_crop = "none"
    if config.data.image_size == 224:
        config.data.image_size = 292
        config.data.linear_size, config.data.linear_crop = (
            196,
            "central",
        )  # 7/8 of 224, then 192 of it
        config.model.stem = "imagenet_dense"
        config.lens.widths, config.lens.patch = (32, 64, 128), 1  # 292 px can be halved only twice
        return {"cell": 85, "patch": 64}
    if config.data.name == "glyphs":
        config.data.name, config.data.image_size, config.data.linear_size = "glyphs/64", 64, 48
        return {"cell": 21, "patch": 16}
    config.data.linear_size = 24
    return {"cell": 10, "patch": 8}
