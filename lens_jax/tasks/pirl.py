"""PIRL: an image and its jigsaw puzzle are alike (Misra & van der Maaten, 2019, arXiv 1912.01991).

The details follow the authors' code in VISSL (`pirl_jigsaw_4node_resnet50`, `nce_loss`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.losses.contrastive import Contrast, info_nce, normalize
from lens_jax.losses.noise_contrastive import log_mean_exp, nce
from lens_jax.models.heads import JigsawHead
from lens_jax.models.network import JigsawNetwork, Network
from lens_jax.ops import crop, patches
from lens_jax.tasks.base import (
    Augment,
    Batch,
    DataFacts,
    Loss,
    Outputs,
    Task,
    Views,
    check_area,
    check_images,
    check_least,
    check_option,
    check_positive,
    check_side,
    check_weights,
    join_views,
    split_views,
)
from lens_jax.tasks.memory_bank import Bank, average_rows, empty_bank, random_bank

FORMS = ("nce", "info_nce")


class Draws(NamedTuple):
    """The labels of B images: their numbers in the data set, and of what negatives are drawn.

    The first seed draws the negatives of all.
    """

    index: jax.Array
    seed: jax.Array


class Rows(NamedTuple):
    """What the embeddings of B images are compared with.

    Attributes:
      own: [B, f], the row of each.
      negatives: [K, f], drawn for all of them.
      excluded: bool [B, K], whether a negative is the image's own row.

    """

    own: jax.Array
    negatives: jax.Array
    excluded: jax.Array


@dataclasses.dataclass(frozen=True)
class PIRL(Task):
    """Each image, and nine patches of it in a random order, find its row in a memory of all images.

    A view that is cut anew for the patches is divided into 3x3 cells; each cell gives a patch at a
    random place, with an augmentation of its own, `augment.later`. Five things differ from the
    authors' code: all images of a batch share their negatives, which costs one product of matrices
    where every image had some of its own; an image's own row is no negative of it when it is drawn,
    which happens often where the data is small; ImgPilRandomPhotometric is left out; an image that
    is twice in a batch enters its row once, by the mean, whatever the devices; and with "info_nce"
    the memory starts as zeros, where random rows would be what the images are drawn to throughout
    the first epoch, and half of what their rows are made of after it.

    Attributes:
        images: number of images in the data set.
        size: side of the whole view, in pixels; 0 is the side of the images.
        cell: side of the cells, in pixels of the view that is cut for the patches.
        patch: side of the patches, in pixels; three of them are at most as long as the whole view.
        patch_area: least and largest fraction of the image that the patches are taken from.
        hidden: width of the heads' hidden layers; 0: there are none, as in the paper.
        norm: BatchNorm after each hidden layer. The authors have none. Small networks need it: all
            their images have nearly one embedding at first, and the memory fills with that.
        embedding: length of the embeddings that are compared.
        temperature: divides the cosine similarities.
        negatives: how many rows of the memory are drawn at a step, with replacement.
        momentum: weight of the old row in the new one.
        form: "nce", each row is told from noise by itself; or "info_nce", the image's own row is
            found among the negatives.

    """

    # A bank grows with the data.
    shards_memory = True

    images: int
    size: int = 0
    cell: int = 85
    patch: int = 64
    patch_area: tuple[float, float] = (0.6, 1.0)
    hidden: int = 0
    norm: bool = False
    embedding: int = 128
    temperature: float = 0.07
    negatives: int = 32000
    momentum: float = 0.5
    form: str = "nce"

    def __post_init__(self) -> None:
        patches.check_patch(self.cell, self.patch)
        check_side(self.size)
        check_area(self, "patch_area")
        check_least(self, 0, "hidden")
        check_least(self, 1, "embedding", "negatives")
        check_positive(self, "temperature")
        check_weights(self, "momentum")

        # BatchNorm follows a hidden layer.
        can_norm = self.hidden > 0 or not self.norm
        check_option("norm", self.norm, can_norm, "False where task.hidden is 0")
        known = self.form in FORMS
        check_option("form", self.form, known, f"one of {', '.join(FORMS)}")

    @classmethod
    def from_options(cls, options: Mapping[str, Any], facts: DataFacts) -> "PIRL":
        """PIRL with a memory of all images; raises `UserError` where their number is not known."""
        if facts.size < 2:
            raise UserError(
                "task 'pirl' remembers each image by its index, and the data set has "
                f"{facts.size} of them: give one with two images or more, or use task 'moco', "
                "which needs no indices"
            )
        return cls(facts.size, **options)

    @property
    def has_logits(self) -> bool:
        """The form "nce" tells each row from noise by itself, and chooses none."""
        return self.form == "info_nce"

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [2B, s, s, 3]: the whole image, and beside it nine patches laid out.

        The patches lie in the upper left corner, and what is left of the view is gray. Labels are
        `Draws`; there are none in evaluation, where the patches are the central ones in order.
        """
        images = batch["image"]
        if augment is None:
            whole = self.crops(images)
            resized = crop.resize(images, patches.GRID * self.cell)
            central = patches.central_patches(resized, self.cell, self.patch)
            return Views(join_views(whole, self._lay_out(central, whole)))

        if "index" not in batch:
            raise UserError("task 'pirl' needs the index of each image: the batch has no 'index'")
        patch_key, order_key, seed_key = jax.random.split(key, 3)
        whole = augment(images, view=0, size=self.size).images
        cut = self._cut_patches(patch_key, images)
        augmented = augment(cut, view=1).images
        shuffled = shuffle(order_key, augmented)

        seeds = jax.random.bits(seed_key, (len(images),))
        labels = Draws(batch["index"], seeds)
        return Views(join_views(whole, self._lay_out(shuffled, whole)), labels)

    def crops(self, images: jax.Array) -> jax.Array:
        """The whole images in the size of the views."""
        return crop.resize(images, self.size or images.shape[1])

    def head(self, dtype: Any) -> nn.Module:
        """The heads of images and patches, whose embeddings lie side by side."""
        return JigsawHead(self.embedding, self.hidden, self.norm, dtype)

    def network(self, extractor: nn.Module, head: nn.Module, **options: Any) -> Network:
        """A network that cuts the patches out again."""
        return JigsawNetwork(extractor, head, patch=self.patch, **options)

    def memory(self, key: jax.Array) -> Bank:
        """Rows for all images and some that stay unused, at random in the NCE form or of zeros."""
        if self.form == "info_nce":
            return empty_bank(self.images, self.embedding)
        return random_bank(key, self.images, self.embedding)

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """Those of the whole images and of their jigsaws."""
        return split_views(outputs.online, 2)

    def loss(self, outputs: Outputs, labels: Draws, memory: Bank) -> Loss:
        """The mean of the losses of images and jigsaws, [2B, f], against the memory.

        After that, an image's row becomes the average of itself and of the whole image's embedding,
        at length 1. The metrics "accuracy" and "accuracy_jigsaw" are the fractions of images and of
        jigsaws that are more similar to their own row than to all that were drawn.

        Raises `UserError` for fewer than two images.
        """
        embeddings = normalize(outputs.online)
        images, jigsaws = split_views(embeddings, 2)
        check_images("pirl", len(images))
        drawn = self._draw_negatives(labels.seed[0])
        rows = Rows(
            own=memory.rows[labels.index],
            negatives=memory.rows[drawn],
            excluded=labels.index[:, None] == drawn,
        )
        log_mean = self._constant(jigsaws, rows, memory)
        of_jigsaws = self._contrast(jigsaws, rows, log_mean)
        of_images = self._contrast(images, rows, log_mean)

        value = (of_jigsaws.value + of_images.value) / 2
        metrics = {
            "accuracy": jnp.mean(of_images.hits, dtype=value.dtype),
            "accuracy_jigsaw": jnp.mean(of_jigsaws.hits, dtype=value.dtype),
        }
        updated = average_rows(memory.rows, labels.index, images, self.momentum)
        measured = jnp.ones_like(memory.measured)
        bank = Bank(updated, log_mean, measured)
        logits = None
        if self.has_logits:
            logits = join_views(of_images.logits, of_jigsaws.logits)
        return Loss(value, metrics, bank, logits)

    def _cut_patches(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """A random patch of each cell of a random crop: [B, h, h, 3] -> [9B, p, p, 3]."""
        crop_key, patch_key = jax.random.split(key)

        # One crop an image, as large as the cells are together.
        side = patches.GRID * self.cell
        crops = crop.random_resized_crop(
            crop_key,
            images,
            count=1,
            size=side,
            area=self.patch_area,
        )
        return patches.random_patches(patch_key, crops, self.cell, self.patch)

    def _lay_out(self, cut: jax.Array, whole: jax.Array) -> jax.Array:
        """Nine patches an image as a picture of the whole view's size, [B, s, s, 3]."""
        laid_out = patches.join(cut)
        side, size = laid_out.shape[1], whole.shape[1]
        if side > size:
            raise UserError(
                f"task.patch is {self.patch}: three patches in a row are longer than the view of "
                f"{size} px; make it {size // patches.GRID} or less, or task.size larger"
            )
        room = (0, size - side)
        return jnp.pad(laid_out, ((0, 0), room, room, (0, 0)))

    def _draw_negatives(self, seed: jax.Array) -> jax.Array:
        """The rows of the memory that all images of a batch are compared with, int [K]."""
        return jax.random.randint(jax.random.key(seed), (self.negatives,), 0, self.images)

    def _constant(self, jigsaws: jax.Array, rows: Rows, memory: Bank) -> jax.Array:
        """The constant of the NCE form, measured on the jigsaws of the first batch and then kept.

        As in the authors' code, which meets the jigsaws first.
        """
        if self.form == "info_nce":
            return memory.log_mean
        own, negatives, excluded = rows
        found = log_mean_exp(jigsaws, own, negatives, self.temperature, excluded)
        found = jax.lax.stop_gradient(found).astype(memory.log_mean.dtype)
        return jnp.where(memory.measured, memory.log_mean, found)

    def _contrast(self, embeddings: jax.Array, rows: Rows, log_mean: jax.Array) -> Contrast:
        """The loss of one branch, embeddings [B, f]."""
        own, negatives, excluded = rows
        if self.form == "info_nce":
            return info_nce(embeddings, own, negatives, self.temperature, excluded)
        return nce(embeddings, own, negatives, self.temperature, log_mean, excluded)


def shuffle(key: jax.Array, cut: jax.Array) -> jax.Array:
    """The nine patches of each image, [9B, p, p, 3], in a random order of its own."""
    by_image = cut.reshape(-1, patches.PLACES, *cut.shape[1:])

    # Each row is permuted by itself: an order an image.
    places = jnp.arange(patches.PLACES)
    in_order = jnp.tile(places, (len(by_image), 1))
    orders = jax.random.permutation(key, in_order, axis=1, independent=True)

    over_pixels = (2, 3, 4)
    chosen = jnp.expand_dims(orders, over_pixels)
    shuffled = jnp.take_along_axis(by_image, chosen, axis=1)
    return shuffled.reshape(cut.shape)
