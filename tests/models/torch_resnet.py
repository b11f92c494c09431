"""Torchvision's ResNet of bottlenecks in plain PyTorch, by its names, for where torch is there."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn


def conv(before: int, width: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, width, side, stride, side // 2, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(before, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride > 1 or before != 4 * width:
            projection = conv(before, 4 * width, 1, stride)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(y + shortcut)


class ResNet(nn.Module):
    def __init__(self, stage_sizes: Sequence[int] = (3, 4, 6, 3), width: int = 64):
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, 7, 2), nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages, before = len(stage_sizes), width
        for stage, size in enumerate(stage_sizes):
            blocks = []
            for index in range(size):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Bottleneck(before, width * 2**stage, stride))
                before = 4 * width * 2**stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, 1000)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Normalized images [N, 3, h, w] -> [N, f], what the classifier reads."""
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.mean((2, 3))


def features_of(model: ResNet, images: np.ndarray) -> np.ndarray:
    """Features of uint8 images [N, h, w, 3], with torchvision's normalization."""
    mean = torch.tensor([0.485, 0.456, 0.406])
    std = torch.tensor([0.229, 0.224, 0.225])
    pixels = (torch.from_numpy(images) / 255 - mean) / std
    with torch.no_grad():
        return model.eval().features(pixels.permute(0, 3, 1, 2)).numpy()


def load_arrays(model: ResNet, arrays: Mapping[str, np.ndarray]) -> None:
    """Loads what `safetensors` would give; all but the classifier has to be there."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert set(missing) == {"fc.weight", "fc.bias"}


def randomize(model: ResNet, seed: int) -> dict[str, np.ndarray]:
    """Draws weights and, unlike initialization, BatchNorm's numbers; returns them by name."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("bn3.weight"):
            tensor.uniform_(0.2, 0.4, generator=generator)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.2, generator=generator)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}
