"""Published moments of the parameters of augmentations.

Of github.com/ADevillers/EquiMod, src/dataset.py and src/main.py: crop, flip, jitter, its order,
brightness, contrast, saturation, hue and gray; of ImageNet the blur and its sigma too.
"""

from lens_jax.ops.augment import Augmentation

CIFAR = Augmentation(area=(0.2, 1.0), flip=0.5, jitter=0.8, gray=0.2)
IMAGENET = Augmentation(
    area=(0.08, 1.0),
    flip=0.5,
    jitter=0.8,
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    gray=0.2,
    blur=0.5,
)

CIFAR_MEAN = [
    *(4.3122, 4.3216, 23.369, 23.374, 0.49998, 0.80087, 1.2025, 1.4007, 1.5964, 1.8004),
    *(0.99993, 1.0002, 0.99986, 2.2e-7, 0.19965),
]
CIFAR_DEVIATION = [
    *(3.9740, 3.9851, 4.9544, 4.9539, 0.5, 0.3993, 1.1651, 1.0210, 1.0200, 1.1669),
    *(0.2066, 0.2068, 0.2066, 0.0517, 0.3997),
]
IMAGENET_MEAN = [
    *(68.162, 99.199, 269.33, 274.57, 0.49905, 0.80054, 1.1998, 1.3994, 1.6014, 1.7995),
    *(1.0001, 1.0000, 1.0005, 1.56e-4, 0.20018, 0.50030, 0.52507),
]
IMAGENET_DEVIATION = [
    *(77.370, 98.681, 136.86, 143.49, 0.5, 0.39959, 1.1661, 1.0201, 1.0201, 1.1657),
    *(0.41347, 0.41323, 0.41349, 0.10333, 0.40013, 0.5, 0.65251),
]
