"""The cache of compiled programs."""

import jax
from etils import epath

from lens_jax.workdir.files import CACHE_FOLDER


def use_cache(workdir: str) -> str:
    """Keeps compiled programs for the next start, and returns the folder they are kept in.

    That is `workdir`/compilation_cache, unless JAX_COMPILATION_CACHE_DIR names another one.
    """
    if jax.config.jax_compilation_cache_dir is None:
        folder = epath.Path(workdir).absolute() / CACHE_FOLDER
        jax.config.update("jax_compilation_cache_dir", str(folder))
    return jax.config.jax_compilation_cache_dir
