"""Every section of `params.yaml`: its keys, their types and defaults.

It knows nothing of what stages do with them, and imports no torch. What a method's own section may
hold is declared by the method (`tuition/methods/`).
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tuition.params.bounds import LATER, OPERATIONAL, Place, Section, Seed, Share, Whole
from tuition.params.data import Data
from tuition.params.teacher import AnyTeacher, CheckpointSettings
from tuition.ranges import Count, NotNegative, Positive
from tuition.workspace import PURCHASED, given


class Transfer(Section):
    source: str | None = None
    root: str | None = None
    resize: Annotated[int, Field(ge=8)] | None = None
    channels: Literal[1, 3] | None = None


ENCODERS = ("timm", "torchvision", "sentence", "file")  # kinds of encode.source that a name or path follows


class Encode(Section):
    """Where features come from, which cost no teacher call; with the source `none` there are none."""

    source: str = "none"
    weights: Place | None = None
    size: Annotated[int, Field(ge=8)] | None = None
    dimensions: Annotated[int, Field(ge=2), LATER] = 256
    batch_size: Annotated[Count, OPERATIONAL] = 256
    watch: Annotated[Place, OPERATIONAL] = "tuition/files.py"

    @model_validator(mode="after")
    def _fits_the_source(self) -> "Encode":
        kind, _, name = self.source.partition(":")
        if self.source not in ("none", "pixels", "tfidf", "checkpoint") and (kind not in ENCODERS or not name):
            raise ValueError(
                f"encode.source: found {self.source!r}; valid: none, pixels, tfidf, checkpoint, timm:<name>, torchvision:<name>, "
                "sentence:<folder>, file:<path>"
            )
        if self.source != "tfidf" and self.dimensions != type(self).model_fields["dimensions"].default:
            raise ValueError(
                f"encode.dimensions: found {self.dimensions}; only tfidf has so many as you like: leave it out"
            )
        network = kind in ("timm", "torchvision")
        if network and self.weights is None:
            raise ValueError(
                f"encode.weights: found null; encode.source {self.source!r} needs a file of weights, or `library`, which fetches them"
            )
        for key in ("weights", "size"):
            if getattr(self, key) is not None and not network:
                raise ValueError(
                    f"encode.{key}: found {getattr(self, key)!r}; only timm:<name> and torchvision:<name> have one: leave it out"
                )
        return self


class Training(Section):
    steps: Count = 1000
    batch_size: Annotated[int, Field(ge=2)] = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.05
    momentum: Share = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 5e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup: Annotated[int, Field(ge=0)] = 0
    milestones: list[Count] = Field(default=[])
    gamma: Positive = 0.1
    crop: Annotated[int, Field(ge=0)] = 2
    flip: bool = False
    token_dropout: Annotated[Share, LATER] = 0.0
    span_masking: Annotated[Share, LATER] = 0.0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    compile: bool = False
    devices: Count = 1
    validate_every: Count = 100
    checkpoint_every: Count = 200


class Pretrain(Training):
    seed: Seed = 0


class StudentTraining(Training):
    """Of students, who may learn from samples that were not bought, too."""

    rest: Annotated[Literal["none", "estimated", "labelled", "both", "unlabelled"], LATER] = "none"
    rest_share: Annotated[float, Field(gt=0, lt=1), LATER] = 0.5
    rest_weight: Annotated[Positive, LATER] = 1.0
    rest_confidence: Annotated[Share, LATER] = 0.0
    negatives: Annotated[Whole, LATER] = 0


BY_FEATURES = ("kcenter", "kmeans", "probcover", "typiclust")  # strategies
GUIDES = {
    **dict.fromkeys(BY_FEATURES, "features"),
    "uncertain": "student",
    "file": "order",
}  # which key names what a strategy reads


Strategy = Literal[
    "random", "balanced", "kcenter", "kmeans", "probcover", "typiclust", "uncertain", "file", "pairs", "documents"
]


class Teach(Section):
    strategy: Strategy = "random"
    seed: Seed = 0
    features: Place | None = None
    student: Place | None = None
    order: Place | None = None
    watch: Place = "tuition/files.py"
    mixed: bool = False
    views: Count = 1
    crop: Annotated[int, Field(ge=0)] = 2
    flip: bool = False
    evaluation: Annotated[int, Field(ge=0), LATER] = 0
    texts: Annotated[Literal["own", "references"], LATER] = "own"

    @property
    def guide(self) -> str | None:
        """The file or folder that the strategy reads, if any."""
        return getattr(self, GUIDES[self.strategy]) if self.strategy in GUIDES else None

    @model_validator(mode="after")
    def _guided(self) -> "Teach":
        if self.guide is None:
            if self.strategy in ("uncertain", "file"):
                what = "folder of a trained student" if self.strategy == "uncertain" else "text file of content ids"
                raise ValueError(
                    f"teach.{GUIDES[self.strategy]}: found null; strategy {self.strategy!r} needs the path of a {what}"
                )
            return self
        key, guide = f"teach.{GUIDES[self.strategy]}", Path(os.path.relpath(given(self.guide)))
        if guide.parts[:1] and guide.parts[0] in PURCHASED:
            raise ValueError(
                f"{key}: found {self.guide!r}, but {guide.parts[0]}/ is made of what teach buys, which cannot depend on it; "
                f"copy it out and name the copy, as after `cp -r {self.guide} guide`"
            )
        watched = Path(os.path.relpath(self.watch))
        if guide != watched and watched not in guide.parents:
            raise ValueError(
                f"teach.watch: found {self.watch!r}, but strategy {self.strategy!r} reads {key}: {self.guide!r}; name that here too, "
                "so that `dvc repro` notices when it changes"
            )
        return self

    @model_validator(mode="after")
    def _viewed(self) -> "Teach":
        from tuition.views import too_many

        if self.views > 1 and self.mixed:
            raise ValueError(
                f"teach.views: {self.views} with teach.mixed: true; mixed inputs are made of clean samples, which are bought with views: 1"
            )
        if self.views > 1 and (wrong := too_many(self.views, self.crop, self.flip)):
            raise ValueError(wrong)
        return self


class Estimate(Section):
    estimator: Annotated[Literal["none", "auto", "ridge", "logistic", "knn", "propagation"], LATER] = "none"
    students: Annotated[int, Field(ge=0, le=20), LATER] = 0

    @model_validator(mode="after")
    def _parts(self) -> "Estimate":
        if self.students == 1 or (self.students and self.estimator == "none"):
            raise ValueError(
                f"estimate.students: found {self.students} with estimate.estimator: {self.estimator}; valid: 0, or 2 and more (each is "
                "trained without a part of the bought answers) beside an estimator, such as auto"
            )
        return self


class ComparisonSet(Section):
    strategy: Literal["in-batch", "random", "balanced", "nearest"] = "in-batch"
    k: Annotated[int, Field(ge=2)] = 2
    weights: list[float] | None = None


class Compare(Section):
    limit: Count = 100_000
    seed: Seed = 0
    sets: Annotated[dict[str, ComparisonSet], OPERATIONAL] = Field(default={})
    watch: Annotated[Place, OPERATIONAL] = "tuition/files.py"


class Student(Section):
    arch: str = "resnet8"
    taps: list[str] = Field(default=[])
    encoder: Annotated[Place | None, LATER] = None
    vocabulary: Annotated[Annotated[int, Field(ge=300)] | None, LATER] = None
    max_tokens: Annotated[Count | None, LATER] = None
    embedding: Annotated[Annotated[int, Field(ge=2)] | None, LATER] = None

    @property
    def folder(self) -> str | None:
        """Of the encoder that it begins with, which `arch` names or `encoder`."""
        kind, _, place = self.arch.partition(":")
        return place if kind == "transformers" else self.encoder


class Evaluate(Section):
    batch_size: Count = 500
    bins: Annotated[int, Field(ge=2)] = 15


class Guard(Section):
    """What a champion must keep, whatever its accuracy; null: not asked for."""

    max_ece: Positive | None = None
    min_class_recall: Share | None = None
    max_latency_ms: Positive | None = None
    max_bytes: Count | None = None


class Register(Section):
    name: Annotated[str, Field(min_length=1, pattern=r"^[^/:]+$")] = "tuition"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    guard: Guard = Guard()


class Flows(Section):
    runner: Literal["threads", "dask", "ray"] = "threads"
    address: Place | None = None
    parallel: Count = 1
    retries: Annotated[int, Field(ge=0)] = 2


class Refresh(Section):
    inbox: Place | None = None
    allowance: Count = 100
    every: Literal["day", "week", "month"] = "day"
    strategy: Literal["balanced", "random", "kcenter", "uncertain"] = "balanced"


class Study(Section):
    budgets: Annotated[list[Count], Field(min_length=1)]
    methods: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]

    @model_validator(mode="after")
    def _no_cell_twice(self) -> "Study":
        for key in ("budgets", "methods", "seeds"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"study.{key}: found {values}; each value may stand once")
        return self

    def cells(self) -> list[tuple[int, str, int]]:
        """Every (budget, method, seed) of the study, in the order of the lists."""
        return [(b, m, s) for b in self.budgets for m in self.methods for s in self.seeds]


class Params(Section):
    study: Annotated[Study, OPERATIONAL]
    data: Data = Data()
    transfer: Transfer = Transfer()
    encode: Annotated[Encode, LATER] = Encode()
    teacher: AnyTeacher = CheckpointSettings()
    teachers: list[AnyTeacher] = Field(default=[])
    pretrain: Pretrain = Pretrain()
    teach: Teach = Teach()
    estimate: Annotated[Estimate, LATER] = Estimate()
    compare: Compare = Compare()
    student: Student = Student()
    train: StudentTraining = StudentTraining()
    methods: Annotated[dict[str, dict[str, Any] | None], OPERATIONAL]
    evaluate: Evaluate = Evaluate()
    registry: Annotated[Register, OPERATIONAL] = Field(
        default=Register(), alias="register"
    )  # BaseModel has a `register` of its own
    flows: Annotated[Flows, OPERATIONAL] = Flows()
    refresh: Annotated[Refresh, OPERATIONAL] = Refresh()
