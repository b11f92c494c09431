"""Whose folder a work directory is: that of one config, and of one beginning."""

import jax
from etils import epath
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.errors import UserError
from lens_jax.workdir import files


def claim_workdir(config: ConfigDict, workdir: str, init: str) -> str:
    """Writes into `workdir` which config is trained there, and with whose networks it began.

    The first process writes for all.

    Args:
      config: of the training.
      workdir: its folder, which may hold a run of the same config already.
      init: folder of the run with whose networks to begin; empty for none, or for those that the
        run in `workdir` began with.

    Returns:
      The folder of the run with whose networks this one begins, or empty.

    Raises:
      UserError: the folder holds a run of another config, or one that began otherwise.

    """
    if init:
        init = str(epath.Path(init).absolute())
    new = configs.to_json(config)
    if files.is_run(workdir):
        old = files.read_record(workdir)
        changed = configs.difference(old.config, new)
        if changed:
            raise UserError(
                f"{workdir} holds a run of another config: {changed}; give another --workdir, with "
                f"--init={workdir} to begin with its networks"
            )
        if init and init != old.init:
            began = f"--init={old.init}" if old.init else "networks as they are drawn"
            raise UserError(
                f"{workdir} holds a run that began with {began}: leave --init away to go on with "
                "it, or give another --workdir"
            )
        init = old.init
    if jax.process_index() == 0:
        files.write_config(workdir, new, init)
    return init
