"""What JSON Schema cannot say of a request: which of its arrays are of equal length.

Loaded by schemathesis. Requests with such arrays of unequal length fit the document and are
refused; they are left out of what is generated.
"""

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    body = case.body
    return not isinstance(body, dict) or all(map(has_equal_lengths, body.values()))


def has_equal_lengths(value: Any) -> bool:
    if not isinstance(value, dict):
        return True
    data, index = value.get("data"), value.get("index")
    if isinstance(data, dict):  # columns under Inputs
        return has_equal_lengths(data)
    if isinstance(data, list):  # a split, or rows under Inputs
        return not isinstance(index, list) or len(index) == len(data)
    return len({len(column) for column in value.values() if isinstance(column, list)}) <= 1
