"""Fixtures for all tests: no test touches the user's ledger, MLflow store or data folder."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # tests at once: a thread each, in the stages that they run too
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import numpy as np
import pytest
from support import COUNTING_TEACHER, PAID, digits, postgres, templates, write_params

from tuition.params import Data
from tuition.sources.wordnet import load_wordnet

# A shell's background jobs ignore Ctrl-C, and so would the processes whose Ctrl-C is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


FIRST = ("tests/test_pipeline.py", "tests/training/test_devices.py", "tests/test_planted_key.py")  # the longest files


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, so that no process is left with one of them at the end."""

    def place(item: pytest.Item) -> tuple[bool, bool]:
        file = item.path.relative_to(item.config.rootpath).as_posix()
        return (file not in FIRST, file not in slow)

    slow = {item.path.relative_to(item.config.rootpath).as_posix() for item in items if item.get_closest_marker("slow")}
    items.sort(key=place)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        templates.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        templates.end()


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("TUITION_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that what MLflow writes there is taken back after the test
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def _no_module_is_left() -> Iterator[None]:
    """A user's `mine.py` that a test imported is not another test's."""
    yield
    sys.modules.pop("mine", None)


@pytest.fixture(scope="session")
def glosses() -> np.ndarray:
    """400 real texts, to be read alone."""
    return load_wordnet("", Data(source="wordnet")).parts["train"].images[:400]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory, glosses) -> Path:
    """The folder of a tiny encoder of these texts, to be read alone."""
    from support.encoders import write_encoder  # its library is for those who want it

    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny", glosses)


@pytest.fixture(scope="session")
def kinds_of_glosses() -> tuple[list[str], list[str]]:
    """300 real texts and the class of each, of three, to be read alone."""
    raw = load_wordnet("", Data(source="wordnet"))
    part, wanted = raw.parts["train"], ("animal", "person", "plant")
    found = [(text, raw.classes[label]) for text, label in zip(part.images, part.labels, strict=True)]
    texts, kinds = zip(*[one for one in found if one[1] in wanted][:300], strict=True)
    return list(texts), list(kinds)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory, kinds_of_glosses) -> Path:
    """The folder of a tiny classifier of such texts, whose classes have an order of their own; to be read alone."""
    from support.encoders import write_classifier

    texts, kinds = kinds_of_glosses
    names = ["plant", "animal", "person"]
    folder = tmp_path_factory.mktemp("classifiers") / "tiny"
    return write_classifier(folder, texts, [names.index(kind) for kind in kinds], names)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A data/ folder that the prepare stage made of 700 real digits."""
    folder = tmp_path_factory.mktemp("prepared")
    images, labels = digits(700)
    np.savez(
        folder / "digits.npz",
        train_images=images[:600],
        train_labels=labels[:600],
        test_images=images[600:],
        test_labels=labels[600:],
    )
    write_params(folder, {"data.source": f"npz:{folder}/digits.npz"})
    subprocess.run([sys.executable, "-m", "stages.prepare"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def workspace(tmp_path, prepared, monkeypatch) -> Path:
    """The current folder: prepared digits, and params.yaml with a quick teacher (not yet trained) and quick students."""
    shutil.copytree(prepared / "data", tmp_path / "data")
    write_params(tmp_path, {"data.source": f"npz:{prepared}/digits.npz"})
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def paid(workspace):
    """The workspace with a paid `python` teacher, `paid:answer`, that writes its own bill to bill.txt."""
    (workspace / "paid.py").write_text(COUNTING_TEACHER)
    write_params(workspace, {**PAID, "data.source": "mnist5k"})
    sys.modules.pop("paid", None)
    yield workspace
    sys.modules.pop("paid", None)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """A running PostgreSQL of this worker's own."""
    bin = postgres.binaries()
    if bin is None:
        ask = "no PostgreSQL is installed here; on Debian: apt-get install postgresql"
        pytest.fail(ask) if os.environ.get("CI") == "true" else pytest.skip(ask)
    with postgres.server(bin) as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def new_place(request, tmp_path, monkeypatch) -> Iterator[Callable[[], str]]:
    """On each engine in turn: gives places for new ledgers. The first is TUITION_LEDGER, here and in processes started here."""
    made: list[str] = []

    def make() -> str:
        server = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
        made.append(server.new_database() if server else str(tmp_path / f"ledger{len(made)}.db"))
        return made[-1]

    monkeypatch.setenv("TUITION_LEDGER", make())
    yield make
    if request.param == "postgresql":
        for url in made:
            request.getfixturevalue("postgresql").drop(url)
