"""The run-time type checker of the tests: an int is a float, as static checkers have it."""

from beartype import BeartypeConf, beartype

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
