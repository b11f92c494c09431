"""The lens: a residual U-Net (Ronneberger et al., 2015) that starts as the identity."""

from collections.abc import Sequence
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
        patch: side of the pixel blocks that are folded into channels first (space to depth).
        dtype: of the computation; parameters and the output stay float32.
        epsilon: the mean absolute change of every image, see `bounded`; None: as much as it likes.
        remat: keep the residual units' outputs alone for the backward pass, and compute the rest
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
        x = nn.Conv(self.widths[0], (3, 3), dtype=self.dtype)(space_to_depth(images, self.patch))
        skips = []
        for level, width in enumerate(self.widths):
            if level > 0:
                x = nn.Conv(width, (2, 2), 2, dtype=self.dtype)(x)
            x = self._units(x)
            skips.append(x)
        for width, skip in zip(self.widths[-2::-1], skips[-2::-1], strict=True):
            x = depth_to_space(nn.Conv(4 * width, (1, 1), dtype=self.dtype)(x), 2)
            x = self._units(
                nn.Conv(width, (1, 1), dtype=self.dtype)(jnp.concatenate([x, skip], -1))
            )
        change = nn.Conv(
            images.shape[-1] * self.patch**2,
            (3, 3),
            kernel_init=nn.initializers.zeros,
            dtype=jnp.promote_types(self.dtype, jnp.float32),
        )(nn.relu(_norm(self.dtype)(x)))
        change = depth_to_space(change, self.patch)
        return images + (change if self.epsilon is None else bounded(change, self.epsilon))

    def check(self, size: tuple[int, int]) -> None:
        """Raises `UserError` for widths it cannot group, or a size it cannot halve as often as it is deep."""
        if not self.widths or any(width < 1 or width % GROUP_SIZE for width in self.widths):
            raise UserError(
                f"lens.widths is {tuple(self.widths)}: give the channels at each resolution, multiples of "
                f"{GROUP_SIZE} such as (64, 128)"
            )
        factor = self.patch * 2 ** (len(self.widths) - 1)
        if size[0] % factor or size[1] % factor:
            raise UserError(
                f"a lens of {len(self.widths)} widths on {self.patch}-px patches needs sides that are "
                f"multiples of {factor}, not {size[0]}x{size[1]}: change data.image_size or lens.widths"
            )

    def _units(self, x: jax.Array) -> jax.Array:
        unit = nn.remat(_unit) if self.remat else _unit
        for _ in range(self.blocks):
            x = unit(self, x)
        return x


def _unit(lens: UNet, x: jax.Array) -> jax.Array:
    width, dtype = x.shape[-1], lens.dtype
    y = nn.Conv(width, (3, 3), dtype=dtype)(nn.relu(_norm(dtype)(x)))
    return x + nn.Conv(width, (3, 3), dtype=dtype)(nn.relu(_norm(dtype)(y)))


def _norm(dtype: Any) -> nn.Module:
    return nn.GroupNorm(num_groups=None, group_size=GROUP_SIZE, dtype=dtype)
