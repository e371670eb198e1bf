import jax

from experiments import continual
from experiments.config.continual_methods import METHODS, Method
from experiments.harness.experiment import execute
from sffa_jax.continual.strategy import Strategy


def shrink(*, strength=1e-4):
    """Returns weight decay as a strategy."""

    def penalty(problem, state, key, modules, batch):
        return strength * sum((leaf**2).sum() for leaf in jax.tree.leaves(modules))

    return Strategy(penalty=penalty)


METHODS["shrink"] = Method("Weight decay", lambda setup: shrink())  # adds it to the command line
options = "--scenarios class --strategies none shrink --algorithms sffa --seeds 1 --out runs/shrink"
status = execute(continual.main, continual.Options, "continual", options.split())
