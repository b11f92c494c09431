"""The augmentation of a config in torchvision."""

from collections.abc import Callable, Iterator

import torch
from ml_collections import ConfigDict
from torchvision.transforms import v2

from lens_jax.errors import UserError
from lens_jax.ops.blur import blur_radius

Transforms = Callable[[torch.Tensor], torch.Tensor]

# Torchvision's names of what a config says; it has no others.
SUPPORTED = {"jitter_kind": "torchvision", "gray_kind": "luma"}


def make_transforms(settings: ConfigDict, size: int) -> Transforms:
    """The transforms of the first view, uint8 [..., 3, h, w] -> float32 [..., 3, size, size].

    Raises `UserError` for a setting that torchvision does not have.
    """
    for name, legal in SUPPORTED.items():
        if settings[name] != legal:
            raise UserError(f"augment.{name} is {settings[name]!r}: torchvision has {legal!r} only")
    steps = [_crop(settings, size)]
    if settings.flip:
        steps.append(v2.RandomHorizontalFlip(settings.flip))
    if settings.jitter:
        strengths = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
        steps.append(v2.RandomApply([v2.ColorJitter(*strengths)], settings.jitter))
    if settings.gray:
        steps.append(v2.RandomGrayscale(settings.gray))
    if settings.blur:
        kernel = 2 * blur_radius(size) + 1
        blur = v2.GaussianBlur(kernel, settings.sigma)
        steps.append(v2.RandomApply([blur], settings.blur))
    if settings.solarize:
        steps.append(v2.RandomSolarize(threshold=128, p=settings.solarize))
    steps.append(v2.ToDtype(torch.float32, scale=True))
    return v2.Compose(steps)


def _crop(settings: ConfigDict, size: int) -> Transforms:
    if settings.area == (1.0, 1.0):
        return v2.Resize((size, size), antialias=True)
    return v2.RandomResizedCrop(size, scale=settings.area, antialias=True)


def run(transforms: Transforms, images: torch.Tensor, each: bool) -> Iterator[torch.Tensor]:
    """At each `next`, the views of uint8 images [N, 3, h, w]: all drawn alike, or each anew."""
    make_views = transforms
    if each:
        make_views = _one_by_one(transforms)
    while True:
        views = make_views(images)
        if views.is_cuda:
            torch.cuda.synchronize()
        yield views


def _one_by_one(transforms: Transforms) -> Transforms:
    def make_views(images: torch.Tensor) -> torch.Tensor:
        views = [transforms(image) for image in images]
        return torch.stack(views)

    return make_views
