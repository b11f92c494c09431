"""Batch normalization (Ioffe & Szegedy, 2015, arXiv 1502.03167), as all our networks use it."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError


class Moments(NamedTuple):
    """Means and variances, [groups, ..., C] with axes of length 1 in between."""

    mean: jax.Array
    variance: jax.Array


class BatchNorm(nn.BatchNorm):
    """Flax's layer with the constants of our networks, and statistics of groups of rows.

    Under jit the statistics are those of the whole batch, over all devices; or of groups of
    neighboring rows, as if each group were on a device of its own. Parameters and running
    statistics are the same ones in both cases.

    Attributes:
        momentum: weight of the past in the running statistics. They settle within some tens of
            steps, where 0.99 would take hundreds.
        epsilon: added to the variance.
        group: number of rows that share statistics; 0 is all of them.

    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    group: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, ..., C] -> [N, ..., C], normalized over all axes but the last one.

        Raises `UserError` where the groups do not divide the rows.
        """
        if self.use_running_average or self.group == 0:
            return super().__call__(x)
        check_groups(len(x), self.group)

        # What `nn.BatchNorm` holds, by the same names.
        width = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, width, jnp.float32)
        variance = self.variable("batch_stats", "var", jnp.ones, width, jnp.float32)

        # Every group by itself; where groups lie within devices, nothing is communicated.
        groups = in_groups(x, self.group)
        moments = group_moments(groups)
        centered = groups - moments.mean
        scale = jax.lax.rsqrt(moments.variance + self.epsilon)
        normalized = centered * scale
        if self.use_scale:
            normalized *= self.param("scale", self.scale_init, width, self.param_dtype)
        if self.use_bias:
            normalized += self.param("bias", self.bias_init, width, self.param_dtype)

        # Evaluation normalizes by the average over the groups.
        if not self.is_initializing():
            mean.value = self._average(mean.value, moments.mean)
            variance.value = self._average(variance.value, moments.variance)
        normalized = normalized.reshape(x.shape)
        return normalized.astype(self.dtype or x.dtype)

    def _average(self, past: jax.Array, moment: jax.Array) -> jax.Array:
        """The running statistic [C] after one more step."""
        all_but_last = range(moment.ndim - 1)
        present = jnp.mean(moment, tuple(all_but_last))

        old = self.momentum * past
        new = (1 - self.momentum) * present
        return old + new


def group_moments(groups: jax.Array) -> Moments:
    """Means and variances of each group, [G, n, ..., C] -> [G, 1, ..., C], in float32 at least.

    E[x^2] - E[x]^2 as in Flax, in one pass over the numbers.
    """
    at_least_float32 = jnp.promote_types(groups.dtype, jnp.float32)
    groups = groups.astype(at_least_float32)

    # All axes but those of groups and channels.
    axes = range(1, groups.ndim - 1)
    over = tuple(axes)
    mean = jnp.mean(groups, over, keepdims=True)
    square = jnp.mean(groups**2, over, keepdims=True)

    # Rounding may leave it below 0.
    variance = square - mean**2
    variance = jnp.maximum(variance, 0)
    return Moments(mean, variance)


def check_groups(rows: int, group: int) -> None:
    """Raises `UserError` unless groups of so many rows divide them."""
    if rows % group:
        raise UserError(
            f"model.batch_norm_group is {group}: it must divide the {rows} inputs that the "
            "extractor sees at once, or be 0 for statistics of all of them"
        )


def in_groups(rows: jax.Array, group: int) -> jax.Array:
    """Neighboring rows together, [N, ...] -> [N / group, group, ...]."""
    shape = rows.shape[1:]
    return rows.reshape(-1, group, *shape)


def spread(rows: jax.Array, group: int) -> jax.Array:
    """Another order of rows [N, ...], in which groups of `group` are composed anew.

    The first rows of all groups come first, then the second ones, and so on, so that a new group
    holds about as many rows of each former group. `gather` is the inverse.
    """
    check_groups(len(rows), group)
    by_group = in_groups(rows, group)
    by_place = by_group.swapaxes(0, 1)
    return by_place.reshape(rows.shape)


def gather(rows: jax.Array, group: int) -> jax.Array:
    """The order that rows [N, ...] had before `spread`."""
    check_groups(len(rows), group)
    groups = len(rows) // group
    by_place = in_groups(rows, groups)
    by_group = by_place.swapaxes(0, 1)
    return by_group.reshape(rows.shape)
