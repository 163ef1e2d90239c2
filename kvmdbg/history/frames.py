"""Columns as a pandas DataFrame; pandas' only door. It is optional, and imported when asked for.

Must not know: what a column means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import ToolMissing

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame

_MISSING: Final = "pandas is not installed: pip install pandas"


def frame(columns: Mapping[str, Any], index: Any = None) -> DataFrame:
    """A DataFrame of numpy columns, which are copied; ``index`` is one of them or None.

    A column that is a pair (codes, categories) becomes categorical. ToolMissing without pandas.
    """
    try:
        import pandas
    except ImportError:
        raise ToolMissing(_MISSING) from None
    data = {name: _column(pandas, column) for name, column in columns.items()}
    return pandas.DataFrame(data, index=index, copy=True)


def _column(pandas: Any, column: Any) -> Any:
    if isinstance(column, tuple):
        codes, categories = column
        return pandas.Categorical.from_codes(codes, categories)
    return column


def codes(values: Sequence[int], order: Sequence[int]) -> list[int]:
    """Each value's place in ``order``, as a category's code."""
    places = {value: place for place, value in enumerate(order)}
    return [places[value] for value in values]
