"""Shapes of one run, and of many: stacked runs and lowered programs do not have what annotations
of one run say, so that tests of them turn the shape checker off."""

from contextlib import contextmanager

import jaxtyping


@contextmanager
def no_shape_checks():
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
