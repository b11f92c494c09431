"""Batch normalization (Ioffe & Szegedy, 2015, arXiv 1502.03167), as all our networks use it."""

import flax.linen as nn


class BatchNorm(nn.BatchNorm):
    """Flax's layer with the constants of our networks.

    Under jit the statistics are those of the whole batch, over all devices.

    Attributes:
        momentum: weight of the past in the running statistics. They settle within some tens of
            steps, where 0.99 would take hundreds.
        epsilon: added to the variance.

    """

    momentum: float = 0.9
    epsilon: float = 1e-5
