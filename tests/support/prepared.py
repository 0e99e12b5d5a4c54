"""The real digits, read once: parsing them takes longer than most tests."""

import pytest

from tuition.params import Data
from tuition.sources import mnist5k
from tuition.sources.raw import Raw
from tuition.sources.splits import write_splits as prepare


@pytest.fixture(scope="session")
def digits() -> Raw:
    return mnist5k("", Data())


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """The folder that the stage writes with the default parameters."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(Data(), folder)
    return folder
