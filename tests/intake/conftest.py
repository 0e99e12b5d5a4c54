"""A workspace with a paid teacher and an inbox of sixty new digits."""

import pytest
from support.refreshes import Refreshing, fill

from tuition.files import read_json


@pytest.fixture
def refreshing(paid) -> Refreshing:
    made = Refreshing(paid, read_json(paid / "data/meta.json")["source"])
    made.write()
    fill(made.inbox, 0, 60)
    return made
