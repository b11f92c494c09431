"""The usual alternating update of extractor and lens in PyTorch, for rotation and SimCLR."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from benchmarks.peer_torch.nets import Extractor, Lens


class Nets(NamedTuple):
    """The nets in training mode, the loss of (outputs, labels), and the optimizers.

    Without a lens, the last two are None.
    """

    extractor: nn.Module
    extractor_optimizer: torch.optim.Optimizer
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    lens: nn.Module | None
    lens_optimizer: torch.optim.Optimizer | None


def make_nets(config: ConfigDict, device: str, memory_format: torch.memory_format) -> Nets:
    """The nets of a config, with SGD with momentum, at its peak learning rate, and Adam."""
    extractor = Extractor(config.model, config.task).to(device, memory_format=memory_format)
    sgd = torch.optim.SGD(
        _parameter_groups(extractor, config.optimizer),
        lr=config.optimizer.learning_rate * config.data.batch_size / 256,
        momentum=config.optimizer.momentum,
    )
    loss = make_loss(config.task)
    if config.lens.kind == "none":
        return Nets(extractor, sgd, loss, None, None)
    lens = Lens(config.lens).to(device, memory_format=memory_format)
    adam = torch.optim.Adam(lens.parameters(), lr=config.lens.learning_rate)
    return Nets(extractor, sgd, loss, lens, adam)


def make_loss(task: ConfigDict) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss of a task, of its outputs and labels."""
    if task.name == "rotation":
        return F.cross_entropy
    return partial(nt_xent, temperature=task.temperature)


def nt_xent(rows: torch.Tensor, partners: torch.Tensor, temperature: float) -> torch.Tensor:
    """SimCLR's loss of embeddings [2B, d], each of which has to find that at its `partners`."""
    rows = F.normalize(rows)
    logits = rows @ rows.T / temperature
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    return F.cross_entropy(logits.masked_fill(itself, float("-inf")), partners)


def _parameter_groups(extractor: Extractor, optimizer: ConfigDict) -> list[dict[str, Any]]:
    """The parameters by weight decay: kernels of the body, of the head, and those without any."""
    body, head, others = [], [], []
    for name, parameter in extractor.named_parameters():
        if parameter.ndim == 1:
            others.append(parameter)
        elif name.startswith("head."):
            head.append(parameter)
        else:
            body.append(parameter)
    return [
        {"params": body, "weight_decay": optimizer.weight_decay},
        {"params": head, "weight_decay": optimizer.head_weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def make_views(images: torch.Tensor, task: ConfigDict) -> tuple[torch.Tensor, torch.Tensor]:
    """The task's inputs and labels of uint8 images [B, 3, h, h]."""
    if task.name == "rotation":
        return views(images, task.all_rotations)
    return two_views(images)


def views(images: torch.Tensor, all_rotations: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images [B, 3, h, h] -> inputs in [-1, 1], turned counterclockwise, and labels 0..3.

    All four rotations of each image lie side by side, [4B, 3, h, h], or it is one at random,
    [B, 3, h, h].
    """
    images = images.float() / 127.5 - 1
    turned = torch.stack([torch.rot90(images, turns, (2, 3)) for turns in range(4)], 1)
    if all_rotations:
        labels = torch.arange(4, device=images.device).repeat(len(images))
        return turned.flatten(0, 1), labels
    # The turned images of an image lie along axis 1: one of each row is taken.
    labels = torch.randint(4, (len(images),), device=images.device)
    rows = torch.arange(len(images), device=images.device)
    return turned[rows, labels], labels


def two_views(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images [B, 3, h, h] -> each of them twice, side by side, [2B, 3, h, h] in [-1, 1].

    The labels are the rows of the partners.
    """
    inputs = (images.float() / 127.5 - 1).repeat_interleave(2, 0)
    rows = torch.arange(len(inputs), device=images.device)
    return inputs, rows ^ 1  # 1, 0, 3, 2, ...


def extractor_step(
    nets: Nets, inputs: torch.Tensor, labels: torch.Tensor, kinds: int = 1
) -> torch.Tensor:
    """Takes a step of the extractor; returns the mean loss over the kinds of inputs.

    The inputs of one kind lie behind those of the other, and all have the same labels.
    """
    losses = [nets.loss(outputs, labels) for outputs in nets.extractor(inputs).chunk(kinds)]
    loss = torch.stack(losses).mean()
    nets.extractor_optimizer.zero_grad()
    loss.backward()
    nets.extractor_optimizer.step()
    return loss.detach()


def lens_step(
    nets: Nets, lens: ConfigDict, raw: torch.Tensor, lensed: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Takes a step of the lens that made `lensed` of `raw`; returns its loss.

    The loss is L_adv + lambda * the mean of (raw - lensed)^2.
    """
    # The extractor passes the gradient on to the lens, and gets none itself.
    nets.extractor.requires_grad_(False)
    outputs = nets.extractor(lensed)
    adversarial = OBJECTIVES[lens.objective](nets.loss(outputs, labels), outputs)
    loss = adversarial + lens.lambda_ * F.mse_loss(lensed, raw)
    nets.lens_optimizer.zero_grad()
    loss.backward()
    nets.lens_optimizer.step()
    nets.extractor.requires_grad_(True)
    return loss.detach()


def full(loss: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """The objective `full`: less of the extractor's own loss."""
    return -loss


def least_likely(loss: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The objective `least_likely`: more of the class with the smallest logit."""
    return F.cross_entropy(logits, logits.detach().argmin(1))


def confusion(loss: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The objective `confusion`: cross-entropy to the uniform distribution."""
    return -F.log_softmax(logits, 1).mean()


OBJECTIVES = {"full": full, "least_likely": least_likely, "confusion": confusion}


def update(nets: Nets, config: ConfigDict, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """The alternating update on some views, of the extractor alone where there is no lens."""
    if nets.lens is None:
        extractor_step(nets, inputs, labels)
        return
    lensed = nets.lens(inputs)
    # Detached: the lens never receives the extractor's gradient.
    extractor_step(nets, torch.cat([lensed.detach(), inputs]), labels, kinds=2)
    lens_step(nets, config.lens, inputs, lensed, labels)


def run(nets: Nets, config: ConfigDict, images: torch.Tensor) -> Iterator[None]:
    """Takes a step on uint8 images [B, 3, h, h] at each `next`, and waits for its end."""
    layout = layout_of(images)
    precision = contextlib.nullcontext()
    if config.dtype == "bfloat16":
        precision = torch.autocast(images.device.type, torch.bfloat16)
    while True:
        with precision:
            inputs, labels = make_views(images, config.task)
            update(nets, config, inputs.contiguous(memory_format=layout), labels)
        if images.is_cuda:
            torch.cuda.synchronize()
        yield


def layout_of(images: torch.Tensor) -> torch.memory_format:
    """The memory format of images that have more than one channel and pixel."""
    if images.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
