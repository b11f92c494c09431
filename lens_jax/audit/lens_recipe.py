"""The trainings of the audit's second screen: small networks, for minutes on two cores."""

from ml_collections import ConfigDict

from lens_jax.audit.lens_parts import SUPERVISED
from lens_jax.recipes import base_config, cut_patches, two_views

# Patch tasks see nine patches an image, and SimCLR two views.
_BATCH_SIZE = {"relative_patch_location": 32, "jigsaw": 32, "simclr": 48}
_WIDTH = 32
_LENS_WIDTHS = (16, 32)


def lens_config(
    task: str, folder: str, side: int, seed: int, *, shuffled: bool = False
) -> ConfigDict:
    """The config of a training on the images in `folder`, locked.

    The lens sees whole, upright images, whatever the task then makes of them, so that what it
    removes lies where it is. The extractor sees each image lensed and as it is: both can be asked
    afterwards. The learning rate is constant, so that a training may be made longer while it goes
    on.

    Args:
      task: one of `lens_parts.AUDITED`.
      folder: of images, see `lens_images`.
      side: of the images in pixels.
      seed: of the training.
      shuffled: whether the answers are shuffled, so that there is nothing to learn.

    """
    config = base_config("photo_crops")
    config.seed = seed
    config.shuffle_answers = shuffled
    config.data.update({"name": "image_folder", "dir": folder, "batch_size": 64, "threads": 2})
    config.data.image_size = side
    config.data.batch_size = _BATCH_SIZE.get(task, 64)
    config.model.width = _WIDTH
    config.task = ConfigDict(_TASKS[task](config))
    config.lens.update(
        {
            "kind": "network",
            "acts_on": "images",
            "objective": "confusion",
            "widths": _LENS_WIDTHS,
            "patch": 2,
            "learning_rate": 2e-3,
        }
    )
    config.optimizer.schedule = "constant"
    config.train.monitors = False
    return config.lock()


def _rotation(config: ConfigDict) -> dict:
    return {"name": "rotation", "all_rotations": False}


def _supervised(config: ConfigDict) -> dict:
    return {"name": SUPERVISED}


def _patches(config: ConfigDict) -> dict:
    return {**cut_patches(config), "jitter": True, "embedding": 128, "hidden": 256, "dropout": 0.5}


def _relative_patch_location(config: ConfigDict) -> dict:
    return {"name": "relative_patch_location", **_patches(config)}


def _jigsaw(config: ConfigDict) -> dict:
    return {"name": "jigsaw", **_patches(config), "permutations": 100, "drawn": 8}


def _simclr(config: ConfigDict) -> dict:
    config.augment.update({"area": (0.2, 1.0), "flip": 0.5, "jitter": 0.8, "gray": 0.2})
    config.task = ConfigDict({})
    two_views(config)
    return {"name": "simclr", "size": 0, "hidden": 256, "embedding": 64, "temperature": 0.1}


_TASKS = {
    SUPERVISED: _supervised,
    "rotation": _rotation,
    "relative_patch_location": _relative_patch_location,
    "jigsaw": _jigsaw,
    "simclr": _simclr,
}
