"""Writing records to buckets, which ArrayRecord itself cannot."""

import os
import tempfile
from collections.abc import Iterable
from typing import Any

import tensorflow_datasets as tfds
from etils import epath


class BucketWriter(tfds.core.writer.ExampleWriter):
    """Writes each shard to a local file first, and then copies that to the bucket."""

    def write(self, path: epath.PathLike, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Writes the serialized examples, pairs of key and bytes, to `path`."""
        with tempfile.TemporaryDirectory() as folder:
            local = epath.Path(folder) / os.path.basename(os.fspath(path))
            positions = super().write(local, examples)
            local.copy(path, overwrite=True)
        return positions
