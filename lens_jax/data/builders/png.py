"""Lossless encoding of the images that the builders draw."""

import cv2
import numpy as np


def encode(image: np.ndarray) -> bytes:
    """Encodes an RGB image, uint8 [height, width, 3], as PNG."""
    # OpenCV wants the channels as blue, green, red.
    _, encoded = cv2.imencode(".png", image[..., ::-1])
    return encoded.tobytes()
