"""Small folders of images in the form in which data sets are shipped."""

import pathlib

import cv2
import numpy as np

from lens_jax.data.factors.sets import FactorSets

HEIGHT, WIDTH = 40, 60


def write(path: pathlib.Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def striped(value: int) -> np.ndarray:
    """Gray from 0 to 118 from left to right, with a value in green."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 2 * np.arange(WIDTH)
    image[..., 1] = value
    return image


def jpeg(value: int) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 100]
    _, data = cv2.imencode(".jpg", striped(value)[..., ::-1], quality)
    return data.tobytes()


def names(images: FactorSets) -> list[str]:
    """The last two parts of the paths of all images."""
    source = images.source
    return ["/".join(pathlib.Path(source[i]["name"]).parts[-2:]) for i in range(len(source))]
