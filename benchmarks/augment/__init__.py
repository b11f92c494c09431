"""What augmentations cost, batched on the device, beside torchvision's."""
