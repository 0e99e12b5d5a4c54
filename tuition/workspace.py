"""Where a study's files lie: the one module that spells the folders and file names of a workspace.

`Workspace()` is the current directory, `Workspace(root)` another one. A property or method gives a path, or a folder whose own
properties are paths: `Workspace().split("train").images`, `Workspace().outputs(400).signal("logits")`. This module does not know
what the files hold. It opens none and makes none; `Outputs.further` and `Workspace.exports` only look which folders are there.
`given` and `lacking` speak of paths that a user gives.
"""

import os
from dataclasses import dataclass
from pathlib import Path

META = "meta.json"  # what made a folder
PURCHASED = (
    "outputs",
    "estimates",
    "comparisons",
    "students",
    "speed",
    "results",
    "report",
    "spend",
)  # made of what teach buys


def cell_name(budget: int | str, method: str, seed: int | str) -> str:
    """The name of a cell's folder under `students/` and `results/`, as DVC's matrix names it too."""
    return f"{budget}-{method}-{seed}"


def budget_of(cell: str) -> str:
    """The budget that a cell's name begins with, as text."""
    return cell.partition("-")[0]


def given(place: str | Path) -> Path:
    """A path that a user gave, `~` and `~name` expanded."""
    return Path(os.path.expanduser(place))


def lacking(path: Path, what: str = "file or folder") -> str:
    """Why there is nothing at `path`; empty where there is something."""
    if path.exists():
        return ""
    for one in (path, *path.parents):
        if one.is_symlink() and not one.exists():
            return f"{one} is a link to {os.readlink(one)!r}, which is not there"
    return f"no such {what}"


class File:
    """A file or plain folder below a `Folder`, read from it as an attribute: its path."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, folder: "Folder", _: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class Folder:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


class Split(Folder):
    """data/<split>/: samples as the student sees them, a row each."""

    meta = File(META)
    images = File("images.npy")
    texts = File("texts.arrow")
    labels = File("labels.npy")
    ids = File("ids.npy")  # of the originals
    stored_ids = File("stored_ids.npy")  # of the samples as they are stored, where that is another size
    files = File("files.csv")  # id, file, row: where each sample came from
    relevance = File(
        "relevance.npy"
    )  # of queries: their rows, the documents' rows in train, and how relevant these are
    references = File("references")  # of prompts: the folder of a text to each
    names = File("names.npy")  # of documents and queries, as their source calls them


class Splits(Folder):
    """data/ or transfer/: the splits of a source."""

    meta = File(META)
    rejected = File("rejected.csv")

    def split(self, name: str) -> Split:
        return Split(self.path / name)


class Features(Folder):
    """features/: a vector for each sample of data/, a row each in its order."""

    meta = File(META)

    def split(self, name: str) -> Path:
        return self.path / f"{name}.npy"


class Export(Folder):
    """Answers of one teacher, a row each: what the ledger exports and imports."""

    meta = File(META)
    ids = File("ids.npy")  # of the samples, as the data has them
    asked_ids = File("asked_ids.npy")  # of what was shown, where that is another size
    costs = File("costs.npy")
    views = File("views.npy")
    plausible = File("plausible.json")  # what the checks of the answers found

    def signal(self, name: str) -> Path:
        """The array of a signal, or of a constant of the teacher."""
        return self.path / f"{name}.npy"

    def repeat(self, number: int) -> "Export":
        """The answers with this number, from 0 on, of samples that were asked for several times."""
        return Export(self.path / "repeats" / str(number))

    def repeats(self) -> list["Export"]:
        """Those that are there, in the order of their numbers."""
        found = (meta.parent for meta in (self.path / "repeats").glob(f"*/{META}"))
        return [Export(path) for path in sorted(found, key=lambda path: (len(path.name), path.name))]


class Mixed(Export):
    """outputs/<budget>/mixed/: answers for mixed inputs, the inputs, and what they are mixed of."""

    images = File("images.npy")
    first = File("first.npy")
    second = File("second.npy")
    lam = File("lam.npy")


class Evaluation(Export):
    """outputs/<budget>/evaluation/<split>/: answers for samples of val or test, and the teacher's top class of every sample there."""

    labels = File("labels.npy")


class Outputs(Export):
    """outputs/<budget>/: the answers that a budget buys, whose samples they are, and what they cost."""

    positions = File("positions.npy")
    spend = File("spend.json")
    plausible = File("plausible.json")  # what the checks of the answers found
    teachers = File("teachers")  # the folder of the further teachers' exports

    @property
    def mixed(self) -> Mixed:
        return Mixed(self.path / "mixed")

    def evaluation(self, split: str) -> Evaluation:
        """The answers for val or test, where data has no labels."""
        return Evaluation(self.path / "evaluation" / split)

    def teacher(self, name: str) -> Export:
        """The export of a further teacher."""
        return Export(self.teachers / name)

    def further(self) -> list[Export]:
        """The exports of further teachers that are there, in the order of their names."""
        return [Export(path) for path in sorted(meta.parent for meta in self.teachers.glob(f"*/{META}"))]


class Estimates(Folder):
    """estimates/<budget>/: what the teacher would say of the samples that were not bought."""

    meta = File(META)
    positions = File("positions.npy")
    probabilities = File("probabilities.npy")
    confidence = File("confidence.npy")


class Comparisons(Folder):
    """comparisons/<budget>/<method>/: the comparison set that a method learns from."""

    meta = File(META)
    members = File("members.npy")


class Model(Folder):
    """students/<cell>/ or teacher/: a trained model, and how it was trained."""

    meta = File(META)
    weights = File("weights.safetensors")
    description = File("student.json")
    tokenizer = File("tokenizer.json")  # of a student of texts that has learnt one
    history = File("history.csv")
    index = File("index.npy")  # of a student of retrieval: all documents (D, d) float16, of length 1


class Results(Folder):
    """results/<cell>/: how a student does on the test split."""

    logits = File("logits.npy")
    metrics = File("metrics.json")
    latency = File("latency.json")
    reliability = File("reliability.csv")
    per_class = File("per_class.csv")


class Report(Folder):
    """report/: the study's tables, pictures and words, and which student was registered."""

    text = File("report.md")
    page = File("report.html")
    cells = File("cells.csv")
    summary = File("summary.csv")
    paired = File("paired.csv")
    curve = File("curve.csv")
    metrics = File("metrics.json")
    accuracy_picture = File("accuracy.png")  # and beside it .svg
    paired_picture = File("paired.png")  # and beside it .svg
    registered = File("registered.json")


class Refresh(Folder):
    """refresh/: what the flow `refresh` took from its inbox, what it plans to buy, and what came of it."""

    order = File("order.txt")
    plan = File("plan.json")
    aside = File("aside")  # where new samples wait until all of them are checked
    taking = File("taking.json")
    taken = File("taken.json")
    rejected = File("rejected.csv")
    result = File("result.json")


class Home(Folder):
    """.tuition/: what is kept between runs and is nobody's result."""

    training_states = File("checkpoints")
    prefect = File("prefect")
    served = File("serve.json")  # which processes `serve` started
    serve_lock = File("serve.lock")

    def token_vectors(self, digest: str) -> Path:
        """What was made of an encoder's tokens."""
        return self.path / "token_vectors" / f"{digest}.safetensors"

    def log(self, service: str) -> Path:
        """What a service printed."""
        return self.path / f"{service}.log"


@dataclass(frozen=True)
class Workspace(Folder):
    """The folder with params.yaml; the current directory by default."""

    path: Path = Path()

    params = File("params.yaml")
    pipeline = File("dvc.yaml")
    lockfile = File("dvc.lock")  # DVC's record of what each stage was made from
    dvc = File(".dvc")
    lock = File(".dvc/tmp/tuition.lock")  # held by the flow that runs here
    dvc_locks = File(".dvc/tmp/rwlock")  # which commands of DVC hold which files
    lockfile_copy = File(".dvc/tmp/tuition.dvc.lock")
    deployments = File("prefect.yaml")
    spends = File("spend")  # the folder with what each budget cost
    additions = File("additions")  # samples that `refresh` took, a folder a class
    additions_dvc = File("additions.dvc")  # DVC's record of them
    mlflow_database = File("mlflow.db")
    mlflow_artifacts = File("mlruns")

    @property
    def data(self) -> Splits:
        return Splits(self.path / "data")

    def split(self, name: str) -> Split:
        return self.data.split(name)

    @property
    def encoded(self) -> Features:
        """The folder of features."""
        return Features(self.path / "features")

    def features(self, split: str) -> Path:
        """The features (N, D) of a split's samples."""
        return self.encoded.split(split)

    @property
    def transfer(self) -> Splits:
        return Splits(self.path / "transfer")

    @property
    def teacher(self) -> Model:
        """The model that `pretrain` makes."""
        return Model(self.path / "teacher")

    def outputs(self, budget: int | str) -> Outputs:
        return Outputs(self.path / "outputs" / str(budget))

    def exports(self) -> list[Export]:
        """The exports of bought samples that are there, further teachers' included; those of mixed inputs are not."""
        budgets = self.path / "outputs"
        metas = (*budgets.glob(f"*/{META}"), *budgets.glob(f"*/teachers/*/{META}"))
        return [Export(path) for path in sorted(meta.parent for meta in metas)]

    def spend(self, budget: int | str) -> Path:
        return self.spends / f"{budget}.json"

    def estimates(self, budget: int | str) -> Estimates:
        return Estimates(self.path / "estimates" / str(budget))

    def comparisons(self, budget: int | str, method: str) -> Comparisons:
        return Comparisons(self.comparisons_of(budget) / method)

    def comparisons_of(self, budget: int | str) -> Path:
        """The folder of every method's comparison set."""
        return self.path / "comparisons" / str(budget)

    def student(self, cell: str) -> Model:
        return Model(self.path / "students" / cell)

    def speed(self, cell: str) -> Path:
        return self.path / "speed" / f"{cell}.json"

    def results(self, cell: str) -> Results:
        return Results(self.path / "results" / cell)

    @property
    def report(self) -> Report:
        return Report(self.path / "report")

    @property
    def refresh(self) -> Refresh:
        return Refresh(self.path / "refresh")

    @property
    def home(self) -> Home:
        return Home(self.path / ".tuition")
