"""Types of methods' settings with the range that is valid; free of any import, as methods must load where only torch is."""

from typing import Annotated

Positive = Annotated[float, "positive"]
NotNegative = Annotated[float, "not negative"]
Count = Annotated[int, "at least 1"]

RULES = {
    "positive": lambda value: value > 0,
    "not negative": lambda value: value >= 0,
    "at least 1": lambda value: value >= 1,
}
