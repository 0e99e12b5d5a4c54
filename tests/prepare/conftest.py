"""The real digits, read once: parsing them takes longer than most tests."""

import pytest

from stages.params import Data
from stages.prepare.__main__ import prepare
from stages.prepare.raw import Raw
from stages.prepare.sources import mnist5k


@pytest.fixture(scope="session")
def digits() -> Raw:
    return mnist5k("", Data())


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """The folder that the stage writes with the default parameters."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(Data(), folder)
    return folder
