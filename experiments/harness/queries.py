"""Queries of records by the values of their fields."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

Record = Mapping[str, Any]
Records = Sequence[Record]


def where(records: Iterable[Record], **fields: Any) -> list[Record]:
    """Returns the records whose fields have these values.

    >>> where([{"seed": 0}, {"seed": 1}], seed=1)
    [{'seed': 1}]
    """
    return [r for r in records if all(r.get(name) == value for name, value in fields.items())]


def distinct(records: Iterable[Record], *fields: str) -> list[Any]:
    """Returns the values of a field, or tuples of those of several, each once, in their order.

    >>> distinct([{"seed": 1}, {"seed": 0}, {"seed": 1}], "seed")
    [1, 0]
    """
    return list(dict.fromkeys(map(itemgetter(*fields), records)))


def in_order(records: Iterable[Record], order: Mapping[str, Sequence[str]]) -> list[Record]:
    """Sorts records by fields whose values have an order; other values come last, by name.

    >>> in_order([{"size": "huge"}, {"size": "big"}, {"size": "small"}], {"size": ["small", "big"]})
    [{'size': 'small'}, {'size': 'big'}, {'size': 'huge'}]
    """

    def position(record: Record) -> list[tuple[int, str]]:
        fields = [(names, record[field]) for field, names in order.items()]
        return [(names.index(x) if x in names else len(names), x) for names, x in fields]

    return sorted(records, key=position)
