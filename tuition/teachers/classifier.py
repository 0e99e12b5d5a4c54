"""kind `checkpoint` for texts: a folder with a sequence classifier of the library transformers, on the GPU where there is one.

No code from the folder is run and nothing is fetched; which folders are refused says `tuition.inputs.texts.encoders`. A text is read by the
folder's own tokenizer, its first `teacher.max_text_tokens` tokens. Columns are put into the data's order by the names of `id2label`.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.inputs.texts.encoders import CONFIG, EncoderFolder, read_encoder
from tuition.models.encoders import FROM_FOLDER, first_line, import_library
from tuition.models.text_maps import check_taps, read_states
from tuition.params.teacher import CheckpointSettings
from tuition.targets.answers import Classes, NoAnswer
from tuition.workspace import given

WHERE = "teacher.weights"
OFFERED = ("logits", "embedding", "map", "pooled", "classifier")  # families of signals
MOST = 512  # tokens of a text that are read, where nobody says how many, and the network has places for them
NOT_OF_ANSWERS = (
    "_name_or_path",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "id2label",
    "label2id",
)  # in a config
UNNAMED = "LABEL_{}"  # what the library calls a class that has no name
TRIED = ("a", "a b c d e f g")  # a shorter and a longer text
PRECISION = 1e-3  # of logits in float32, against those of another pass


class TextClassifier:
    """A network in eval mode. Its answers are a function of weights, config, tokenizer and the cut: asking again is free."""

    idempotent = True

    def __init__(self, net: Any, folder: EncoderFolder, settings: CheckpointSettings, order: list[int]):
        """`order`: for each class of the data, which of the network's outputs is its. Raises UserError for signals that it cannot give."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = net.eval().requires_grad_(False).to(self.device)
        self.order, self.classes, self.half = order, len(order), settings.precision == "bf16-mixed"
        self.families, self.taps = tuple(settings.signals), tuple(settings.taps)
        self.head = _head(net, len(order))
        self.most = settings.max_text_tokens or _places(net, MOST)
        self.tokenizer, self.whole = _tokenizer(folder, self.most), _tokenizer(folder, None)
        self.filling = net.config.pad_token_id or 0
        self._check_families()
        self._try()
        self.signals = tuple(self.answer(np.array(TRIED, dtype=object)))
        self.description = {
            "kind": "checkpoint",
            "network": folder.config.get("model_type"),
            "config": _digest({key: value for key, value in folder.config.items() if key not in NOT_OF_ANSWERS}),
            "weights": folder.sha256,
            "tokenizer": hashlib.sha256(folder.tokenizer.encode()).hexdigest(),
            "max_text_tokens": self.most,
            "labels": [net.config.id2label[place] for place in sorted(net.config.id2label)],
            "precision": settings.precision,
            **({"taps": list(self.taps)} if self.taps else {}),
        }

    @torch.no_grad()
    def answer(self, inputs: np.ndarray, keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Of texts (B,): logits (B, classes), embedding (B, d), and of each tap map1 … (B, d, 1, 1) or pooled1 … (B, d)."""
        ids, known = self._tokens(inputs)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits, embedding, maps = self._pass(ids, known)
        said = {"logits": logits[:, self.order], "embedding": embedding}
        said = {name: value for name, value in said.items() if name in self.families}
        for place, one in enumerate(maps, start=1):
            said |= {f"map{place}": one} if "map" in self.families else {}
            said |= {f"pooled{place}": one.flatten(1)} if "pooled" in self.families else {}
        return {name: value.float().cpu().numpy() for name, value in said.items()}

    def constants(self) -> dict[str, np.ndarray]:
        """classifier_weight (C, d) and classifier_bias (C,), float32, where they are asked for."""
        if "classifier" not in self.families:
            return {}
        weight, bias = self.head.weight, self.head.bias
        bias = torch.zeros(len(weight), device=weight.device) if bias is None else bias
        named = {"classifier_weight": weight, "classifier_bias": bias}
        return {name: value[self.order].float().cpu().numpy() for name, value in named.items()}

    def shortened(self, inputs: np.ndarray) -> int:
        """How many of texts (B,) it reads less of than there is."""
        return sum(len(one.ids) > self.most for one in self.whole.encode_batch_fast(inputs.tolist()))

    def _tokens(self, texts: np.ndarray) -> tuple[Tensor, Tensor]:
        """ids (B, L) int64, shorter texts filled up, and which are a text's (B, L) bool. One without any has the filling as its own."""
        found = [one.ids or [self.filling] for one in self.tokenizer.encode_batch_fast(texts.tolist())]
        ids = torch.full((len(found), max(map(len, found))), self.filling)
        known = torch.zeros(ids.shape, dtype=torch.bool)
        for row, one in enumerate(found):
            ids[row, : len(one)] = torch.tensor(one)
            known[row, : len(one)] = True
        return ids.to(self.device), known.to(self.device)

    def _pass(self, ids: Tensor, known: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Logits in the network's own order, what its last layer sees, and its maps."""
        seen: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        try:
            logits, maps = read_states(
                self.net,
                self.taps,
                known,
                lambda: cast(Tensor, self.net(input_ids=ids, attention_mask=known.long()).logits),
                "teacher.taps",
            )
        finally:
            handle.remove()
        return logits, seen[-1], maps

    def _check_families(self) -> None:
        for family in self.families:
            if family not in OFFERED:
                raise UserError(f"teacher.signals: found {family!r}; a classifier of texts gives {', '.join(OFFERED)}")
            if family in ("map", "pooled") and not self.taps:
                raise UserError(
                    f"teacher.signals: {family!r} needs teacher.taps: the names of modules that give a vector for each token, shallow to "
                    "deep, such as bert.encoder.layer.3"
                )
        check_taps(self.net, self.taps, "teacher.taps")

    @torch.no_grad()
    def _try(self) -> None:
        """Raises UserError for a network that cannot read so many tokens, one whose answer depends on what stands beside a text, and one
        that gives no embedding where that is asked for."""
        try:
            self._pass(
                *(torch.ones(1, self.most, dtype=kind, device=self.device) for kind in (torch.int64, torch.bool))
            )
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"teacher.max_text_tokens: the network does not read a text of {self.most} tokens ({first_line(error)}); set less"
            ) from error
        alone, together = (self._pass(*self._tokens(np.array(texts, dtype=object))) for texts in (TRIED[:1], TRIED))
        if not torch.allclose(alone[0][0], together[0][0], atol=PRECISION, rtol=PRECISION):
            raise UserError(
                f"{WHERE}: what the network says of a text depends on a longer one beside it (its config's pad_token_id is "
                f"{self.net.config.pad_token_id}), so that no answer would be the text's own"
            )
        if {"embedding", "classifier"} & set(self.families):
            logits, embedding, _ = together
            if embedding.ndim != 2 or not torch.allclose(self.head(embedding), logits, atol=PRECISION, rtol=PRECISION):
                raise UserError(
                    "teacher.signals: the network's logits are not one linear layer on a vector a text, so it offers no embedding and no "
                    "classifier; set [logits]"
                )


def load_classifier(settings: CheckpointSettings, facts: dict[str, Any]) -> TextClassifier:
    """The teacher of the folder `teacher.weights`.

    Raises UserError where the folder is none, holds code, lacks a file, is no classifier or one of other classes than the data's, and where
    its tokenizer does not fit.
    """
    folder = read_encoder(str(given(settings.weights)), WHERE)
    transformers = import_library("transformers", WHERE)
    try:
        net, told = transformers.AutoModelForSequenceClassification.from_pretrained(
            str(folder.path), output_loading_info=True, **FROM_FOLDER
        )
    except Exception as error:  # an unknown kind, a kind without a classifier, or weights of other shapes
        raise UserError(f"{WHERE}: {folder.path}: transformers cannot load it ({first_line(error)})") from error
    if missing := sorted(told["missing_keys"]):
        raise UserError(
            f"{WHERE}: {folder.path}: the weights lack {len(missing)} of a classifier's ({', '.join(missing[:4])}): an encoder that was "
            "not trained to classify is no teacher; train it and save it as AutoModelForSequenceClassification"
        )
    if net.config.problem_type == "multi_label_classification":
        raise UserError(
            f"{WHERE}: {folder.path}: its texts have several classes each (problem_type), and here have one"
        )
    labels = [str(net.config.id2label[place]) for place in sorted(net.config.id2label)]
    order = _order(labels, [str(name) for name in facts["classes"]], f"{WHERE}: {folder.path / CONFIG}")
    return TextClassifier(net, folder, settings, order)


def _order(labels: list[str], classes: list[str], where: str) -> list[int]:
    """For each class its place among the network's labels; of labels without names, their own order.

    Raises UserError where the classes are others.
    """
    if len(labels) != len(classes):
        raise UserError(f"{where}: this teacher knows {len(labels)} classes, but the data has {len(classes)}")
    if labels == [UNNAMED.format(place) for place in range(len(labels))]:
        return list(range(len(labels)))
    known, order = Classes(labels), []
    for name in classes:
        try:
            order.append(known.index(name))
        except NoAnswer:
            raise UserError(
                f"{where}: id2label: it has no class {name!r} of the data; found {', '.join(map(repr, labels[:12]))}"
                f"{', …' if len(labels) > 12 else ''}"
            ) from None
    if len(set(order)) < len(order):
        raise UserError(f"{where}: id2label: two classes of the data are the same class of the teacher")
    return order


def _head(net: nn.Module, classes: int) -> nn.Linear:
    """The last linear layer with an output a class."""
    found = [one for one in net.modules() if isinstance(one, nn.Linear) and one.out_features == classes]
    if not found:
        raise UserError(f"{WHERE}: the network has no linear layer that ends in its {classes} classes; choose another")
    return found[-1]


def _places(net: Any, most: int) -> int:
    """The most tokens of a text that there are places for, up to `most`."""
    known = getattr(net.config, "max_position_embeddings", None)
    table = next((one for name, one in net.named_modules() if name.endswith("position_embeddings")), None)
    beside = getattr(table, "padding_idx", None)  # networks after RoBERTa count places from behind that of no token
    spare = 0 if beside is None else beside + 1
    return min(most, known - spare) if isinstance(known, int) and known > spare else most


def _tokenizer(folder: EncoderFolder, most: int | None) -> Any:
    """The folder's tokenizer, which cuts a text to `most` tokens; None: it cuts none."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(folder.tokenizer)
    made.no_padding()
    if most is None:
        made.no_truncation()
    else:
        made.enable_truncation(most)
    return made


def _digest(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
