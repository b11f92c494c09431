"""Small files in the form of Fashion-MNIST's."""

import gzip
import pathlib
import struct

import numpy as np

COUNTS = {"train": 20, "t10k": 10}


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def images(prefix: str) -> np.ndarray:
    rng = np.random.default_rng(COUNTS[prefix])
    return rng.integers(0, 256, (COUNTS[prefix], 28, 28), np.uint8)


def labels(prefix: str) -> np.ndarray:
    return (np.arange(COUNTS[prefix]) % 10).astype(np.uint8)


def write(folder: pathlib.Path, packed: bool = True) -> pathlib.Path:
    """Writes the four files of a release into a new folder."""
    folder.mkdir()
    for prefix in COUNTS:
        for name, array in (("images-idx3", images(prefix)), ("labels-idx1", labels(prefix))):
            data = idx(array)
            path = folder / f"{prefix}-{name}-ubyte"
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)
    return folder
