"""Measures what a data set tells without any training: the lines that results stand beside.

    python -m benchmarks.baselines --dataset=photo_crops --data_dir=DIR
    python -m benchmarks.baselines --dataset=fashion_mnist --size=32 --examples=5000

For the test images it prints how often each of these finds the class:

    chance                always the most frequent class of the training images
    color histograms      the class of the training image whose colors are the most similar
    oriented gradients    logistic regression on histograms of oriented gradients

Colors are counted in 4 x 4 x 4 cells of RGB and compared by the sum of absolute differences. The
gradients are those of Dalal and Triggs (2005) as scikit-image has them: 9 directions in cells of 8
px, normalized in blocks of 2 x 2 cells. Learned features that stay below these lines have learned
little that was not there before. The fourth line is a network as it was initialized: train it for
"0 steps", and evaluate it as any other.
"""

from collections.abc import Callable

import numpy as np
from absl import flags
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.command import check_json, write_json
from lens_jax import cli
from lens_jax.data.batches import Skipped, eval_batches
from lens_jax.data.records import Source
from lens_jax.data.source import open_source

CELL = 8
DIRECTIONS = 9
LEVELS = 4
BATCH_SIZE = 256
# One image, uint8 [h, w, 3] -> its features, float32 [d].
Describe = Callable[[np.ndarray], np.ndarray]


def color_histogram(image: np.ndarray) -> np.ndarray:
    """The fraction of the pixels in each of 4 x 4 x 4 cells of RGB, [64]."""
    levels = image.astype(np.int64) * LEVELS // 256
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    cells = (red * LEVELS + green) * LEVELS + blue
    counts = np.bincount(cells.ravel(), minlength=LEVELS**3)
    return (counts / cells.size).astype(np.float32)


def oriented_gradients(image: np.ndarray) -> np.ndarray:
    """scikit-image's histogram of oriented gradients of an image of sides of at least 16 px."""
    return hog(
        image,
        orientations=DIRECTIONS,
        pixels_per_cell=(CELL, CELL),
        cells_per_block=(2, 2),
        channel_axis=-1,
    )


def describe_all(source: Source, size: int, describe: Describe) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, d] and labels [n] of the images of a source that decode."""
    skipped = Skipped(source)
    batches = eval_batches(
        source, skipped, batch_size=BATCH_SIZE, image_size=size, crop="none", threads=1
    )
    features = []
    labels = []
    for batch in batches:
        mask = batch["mask"]
        features += map(describe, batch["image"][mask])
        labels.append(batch["label"][mask])
    return np.stack(features), np.concatenate(labels)


def chance(train_labels: np.ndarray, test_labels: np.ndarray) -> float:
    """How often the most frequent training class is right."""
    most_frequent = np.bincount(train_labels).argmax()
    return float(np.mean(test_labels == most_frequent))


def measure(train: Source, test: Source, size: int) -> dict[str, float]:
    """The test accuracy, 0 to 1, of each baseline by its name."""
    # The most similar colors.
    histograms, labels = describe_all(train, size, color_histogram)
    test_histograms, test_labels = describe_all(test, size, color_histogram)
    nearest = KNeighborsClassifier(n_neighbors=1, metric="manhattan")
    nearest.fit(histograms, labels)

    # Edges and texture, without color.
    gradients, _ = describe_all(train, size, oriented_gradients)
    test_gradients, _ = describe_all(test, size, oriented_gradients)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    linear.fit(gradients, labels)

    return {
        "chance": chance(labels, test_labels),
        "color histograms": float(nearest.score(test_histograms, test_labels)),
        "oriented gradients": float(linear.score(test_gradients, test_labels)),
    }


def define_flags() -> None:
    """Defines the command line, only when this file is run: others have flags of the same names."""
    flags.DEFINE_string("dataset", None, "The data set, such as photo_crops.", required=True)
    flags.DEFINE_string("data_dir", "", "Where it is; TFDS' directory by default.")
    flags.DEFINE_string("train_split", "train", "Split of the images that are learned from.")
    flags.DEFINE_string("test_split", "test", "Split of the images whose class is to be found.")
    flags.DEFINE_integer("examples", None, "Number of training images, all by default.", 1)
    flags.DEFINE_integer("size", 64, "Side that the images are resized to, in pixels.", 16)
    flags.DEFINE_string("json", None, "File to write the accuracies to.")


def main() -> None:
    """Measures and prints the baselines of the data set that the command line names."""
    options = flags.FLAGS
    check_json(options.json)
    train = open_source(options.dataset, options.train_split, options.data_dir)
    test = open_source(options.dataset, options.test_split, options.data_dir)
    train = train.subsample(options.examples or len(train))
    accuracies = measure(train, test, options.size)

    print(f"{options.dataset}: {len(train)} training images, {len(test)} test images")
    for name, accuracy in accuracies.items():
        print(f"  {name:<20} {accuracy:7.2%}")
    if options.json:
        write_json(options.json, accuracies)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
