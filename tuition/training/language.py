"""One training run of a language model, from sequences to what came of it, and how a model stands against references."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tuition.files import digest
from tuition.methods.language import LanguageBatch, LanguageStudent
from tuition.methods.objective import Objective
from tuition.models.causal import build_causal, states
from tuition.models.description import ModelDescription
from tuition.models.sequences import lay_out
from tuition.params import Training
from tuition.training.display import Speed
from tuition.training.loop import Learner, Row, batches, make_fabric
from tuition.training.loop import Progress as Trained
from tuition.training.resumable import circumstances, fit_to_the_end
from tuition.training.sequences import TextLoader, TextSet
from tuition.training.state import TrainingState, run_digest

FIGURE = "val_token_accuracy"  # by which the best student is chosen
TOGETHER = 64  # sequences in one pass


class Judged(NamedTuple):
    """Of N tokens of references: `owner` (N,) int64, whose each is, `nll` (N,) float64, −log q of it in nats, `right` (N,) bool, whether it
    is the likeliest, and `confidence` (N,) float32, the probability of the likeliest."""

    owner: np.ndarray
    nll: np.ndarray
    right: np.ndarray
    confidence: np.ndarray

    @property
    def token_nll(self) -> float:
        """The mean over tokens."""
        return float(self.nll.mean())

    def by_text(self, values: np.ndarray) -> np.ndarray:
        """The mean (n,) of values (N,) over the tokens of each text."""
        return np.bincount(self.owner, values) / np.bincount(self.owner)


class LanguageLearner(Learner):
    """The student and its objective as one module."""

    def forward(self, batch: LanguageBatch) -> dict[str, Tensor]:  # type: ignore[override]
        student: Any = self.student
        hidden = student.model(input_ids=batch.tokens, use_cache=False).last_hidden_state.flatten(0, 1)
        given = LanguageStudent(hidden[batch.places], student.lm_head)
        return self.objective.method(given, batch)  # type: ignore[arg-type]


def train(
    name: str,
    model: ModelDescription,
    objective: Objective,
    settings: Training,
    seed: int,
    data: TextSet,
    held: TextSet,
    *,
    identity: object = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> tuple[Trained, Speed]:
    """Train the model described by `model` with `objective` on `data`; returns what came of it and the run's speed.

    The best by the token accuracy of `held` is kept. `identity` joins data and settings in deciding whether a training state is this run's.
    """
    torch.manual_seed(seed)
    student: Any = build_causal(model)
    fabric = make_fabric(settings)
    loader = TextLoader(data, batch_size=settings.batch_size, seed=seed, device=fabric.device)
    objective.to(fabric.device)
    learner = LanguageLearner(student, objective)
    arrays = data.arrays()
    where = circumstances(fabric, list(arrays))
    content = digest(*arrays.values(), *held.arrays().values())
    state = TrainingState(name, run_digest(model, vars(settings), seed, identity, where, content))
    return fit_to_the_end(
        learner,
        loader,  # type: ignore[arg-type]
        lambda trained: validate(trained, held, fabric.device),
        settings,
        fabric,
        state,
        name=name,
        batch_size=loader.batch_size,
        on_row=on_row,
        figure=FIGURE,
    )


def validate(model: Any, held: TextSet, device: torch.device) -> Row:
    """The mean NLL a token, and token accuracy: the mean over texts of the share of tokens that are the likeliest."""
    found = judge(model, held, device)
    return {"val_loss": found.token_nll, FIGURE: float(found.by_text(found.right).mean())}


@torch.inference_mode()
def judge(model: Any, held: TextSet, device: torch.device) -> Judged:
    """How a model stands against the texts of `held`, each token shown what is before it."""
    model.eval()
    parts = []
    for part in batches(len(held.texts), TOGETHER):
        layout = lay_out(held.prompts[part], held.texts[part], held.context)
        log_q = F.log_softmax(model.lm_head(states(model, layout, device)).float(), dim=1)
        targets = torch.from_numpy(layout.targets).to(device)
        best = log_q.max(dim=1)
        own = log_q.gather(1, targets[:, None])[:, 0]
        parts.append(
            Judged(
                part.start + layout.owner,
                -own.double().cpu().numpy(),
                (best.indices == targets).cpu().numpy(),
                best.values.exp().cpu().numpy(),
            )
        )
    return Judged(*(np.concatenate(one) for one in zip(*parts, strict=True)))
