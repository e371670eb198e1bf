"""Experiments: each a configuration and a main; the algorithms are in `sffa_jax`."""
