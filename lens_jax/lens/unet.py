"""The lens: a residual U-Net (Ronneberger et al., 2015) that starts as the identity."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.lens.budgets import bounded
from lens_jax.models.conv import depth_to_space, space_to_depth

GROUP_SIZE = 8


class UNet(nn.Module):
    """Image to image, fully convolutional; x + change(x), where the change is zero at the start.

    The paper's lens is not known in detail; a U-Net of pre-activation residual units with an
    identity skip is our reading. Group normalization keeps an image's lens free of its batch.

    Attributes:
        widths: channels at each resolution, finest first; its length is the depth.
        blocks: residual units before each change of resolution.
        patch: side of the blocks of pixels that are folded into channels first (space to depth).
        dtype: of the computation; parameters and the output stay float32.
        epsilon: the mean absolute change of every image, see `bounded`; None: no bound.
        remat: keep only the residual units' outputs for the backward pass, and compute the rest
            again.

    """

    widths: Sequence[int]
    blocks: int = 1
    patch: int = 1
    dtype: Any = jnp.float32
    epsilon: float | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Images [N, h, w, C] in [-1, 1] -> lensed images of the same shape, not clipped."""
        self.check(images.shape[1:3])

        # Down, keeping what each resolution ends with.
        conv = partial(nn.Conv, dtype=self.dtype)
        x = space_to_depth(images, self.patch)
        x = conv(self.widths[0], (3, 3))(x)
        skips = []
        for level, width in enumerate(self.widths):
            if level > 0:
                x = conv(width, (2, 2), 2)(x)
            x = self._units(x)
            skips.append(x)

        # Up again, from the second coarsest resolution to the finest.
        levels = list(zip(self.widths, skips, strict=True))
        finer = levels[:-1]
        for width, skip in reversed(finer):
            x = conv(4 * width, (1, 1))(x)
            x = depth_to_space(x, 2)
            x = jnp.concatenate([x, skip], axis=-1)
            x = conv(width, (1, 1))(x)
            x = self._units(x)

        # The kernel of zeros makes the lens start as the identity.
        x = _norm(self.dtype)(x)
        x = nn.relu(x)
        colors = images.shape[-1]
        to_change = nn.Conv(
            colors * self.patch**2,
            (3, 3),
            kernel_init=nn.initializers.zeros,
            dtype=jnp.promote_types(self.dtype, jnp.float32),
        )
        change = to_change(x)
        change = depth_to_space(change, self.patch)
        if self.epsilon is not None:
            change = bounded(change, self.epsilon)
        return images + change

    def check(self, size: tuple[int, int]) -> None:
        """Raises `UserError` for widths that cannot be grouped, or a size that cannot be halved."""
        if not self.widths or any(width < 1 or width % GROUP_SIZE for width in self.widths):
            raise UserError(
                f"lens.widths is {tuple(self.widths)}: give the channels at each resolution, "
                f"multiples of {GROUP_SIZE} such as (64, 128)"
            )
        height, width = size
        levels = len(self.widths)
        factor = self.patch * 2 ** (levels - 1)
        if height % factor or width % factor:
            raise UserError(
                f"a lens of {levels} widths on {self.patch}-px patches needs sides that "
                f"are multiples of {factor}, not {height}x{width}: change data.image_size or "
                "lens.widths"
            )

    def _units(self, x: jax.Array) -> jax.Array:
        unit = nn.remat(_unit) if self.remat else _unit
        for _ in range(self.blocks):
            x = unit(self, x)
        return x


def _unit(lens: UNet, x: jax.Array) -> jax.Array:
    """A pre-activation residual unit of two 3x3 convolutions."""
    width = x.shape[-1]
    conv = partial(nn.Conv, width, (3, 3), dtype=lens.dtype)
    norm = partial(_norm, lens.dtype)

    y = norm()(x)
    y = nn.relu(y)
    y = conv()(y)
    y = norm()(y)
    y = nn.relu(y)
    y = conv()(y)
    return x + y


def _norm(dtype: Any) -> nn.Module:
    return nn.GroupNorm(num_groups=None, group_size=GROUP_SIZE, dtype=dtype)
