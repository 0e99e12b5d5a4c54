"""kind `oip`: the Open Inference Protocol V2 over HTTP, as Triton, KServe, MLServer and the OpenVINO Model Server speak it.

`teacher.url` is the server (`http://host:port`), `teacher.model` the model's name there. Options (`teacher.options`):

- `input`: the input tensor's name (`input`);
- `datatype`: UINT8, or FP32 where `teacher.mean` or `teacher.std` are set; FP32 without them sends pixels as 0.0 to 255.0; of texts BYTES;
- `layout`: NCHW or NHWC; `flatten: true`: rows of C·H·W (H·W·C) numbers; texts are sent as (B,), with `flatten` as (B, 1);
- `output`: the output tensor's name; needed where more than one output has the shape (B, classes);
- `model_version`: a version of the model; without it the server chooses;
- `binary: true`: tensors as bytes, not JSON, both ways, 2 to 5 times smaller. Triton and KServe take them; MLServer does not over HTTP.

A request's `id` comes back in the answer, so an answer to another request is noticed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import numpy as np

from tuition.errors import UserError
from tuition.identity import NOBODY, identity
from tuition.inputs.kinds import inputs_of
from tuition.params.bounds import Section
from tuition.params.teacher import ServerSettings
from tuition.targets.classes import as_logits
from tuition.teachers.formats.bodies import Malformed, json_object, shown
from tuition.teachers.formats.options import parse_options
from tuition.teachers.formats.tensors import LENGTH, TYPES, encode_tensor, read_outputs, split_body
from tuition.teachers.http.format import HttpRequest, request_key
from tuition.teachers.protocol import Reply, Stop


class Options(Section):
    model_version: str | int | None = None
    input: str = "input"
    output: str | None = None
    datatype: Literal["UINT8", "FP32", "BYTES"] | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    flatten: bool = False
    binary: bool = False


class OipFormat:
    """How a V2 question is written and its answer read."""

    signals = ("logits",)

    def __init__(self, settings: ServerSettings, data: dict[str, Any]):
        """Raises UserError for a missing model, unknown options, and options that contradict the preprocessing."""
        if not settings.model:
            raise UserError("teacher.model: found none; kind 'oip' needs the model's name on the server")
        if urlsplit(settings.url or "").path.rstrip("/").endswith("/v2"):
            raise UserError("teacher.url: it ends in /v2; give the server's address without it: /v2/models/… is added")
        self.inputs = inputs_of(data)
        self.inputs.check_sent(settings, data)
        self.settings, self.chosen = settings, parse_options(Options, settings)
        self.classes = len(data["classes"])
        real = settings.mean is not None or settings.std is not None
        texts = self.inputs.NAME == "texts"
        self.datatype = self.chosen.datatype or ("BYTES" if texts else "FP32" if real else "UINT8")
        if (self.datatype == "BYTES") != texts or (texts and self.chosen.layout != "NCHW"):
            raise UserError(
                f"teacher.options.datatype: found {self.datatype!r} and layout {self.chosen.layout!r}; texts are sent as BYTES, without a "
                "layout, images as UINT8 or FP32"
            )
        if real and self.datatype == "UINT8":
            raise UserError(
                "teacher.options.datatype: found 'UINT8', but teacher.mean or teacher.std make numbers of the pixels: FP32"
            )
        self.shape = self._arranged(self.inputs.empty(1, self.inputs.as_sent(settings, data))).shape[1:]
        version = self.chosen.model_version
        self.path = f"/v2/models/{quote(settings.model, safe='')}"
        self.path += "" if version is None else f"/versions/{quote(str(version), safe='')}"

    def options(self) -> dict[str, Any]:
        """What decides the answers. Binary or JSON does not: the numbers are the same."""
        chosen = self.chosen.model_dump(exclude={"binary", "model_version"})
        version = self.chosen.model_version
        return {**chosen, "datatype": self.datatype, "model_version": None if version is None else str(version)}

    def request(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        """The question on samples (B, …) as they are stored."""
        values = self._arranged(self.inputs.sent(inputs, self.settings))
        entry, tail = encode_tensor(self.chosen.input, values, self.datatype, self.chosen.binary)
        question: dict[str, Any] = {"id": request_key(keys), "inputs": [entry]}
        if self.chosen.output:
            wanted = {"parameters": {"binary_data": True}} if self.chosen.binary else {}
            question["outputs"] = [{"name": self.chosen.output, **wanted}]
        elif self.chosen.binary:
            question["parameters"] = {"binary_data_output": True}
        head = json.dumps(question, separators=(",", ":")).encode()
        if not self.chosen.binary:
            return HttpRequest(f"{self.path}/infer", head, {"Content-Type": "application/json"})
        headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}
        return HttpRequest(f"{self.path}/infer", head + tail, headers)

    def read(self, body: bytes, headers: Mapping[str, str], keys: Sequence[str]) -> Reply:
        """The logits (B, classes) of an answer, in the order of `keys`, and the model that it names."""
        who = NOBODY
        try:
            answer, rest = split_body(body, headers)
            who = identity(answer.get("model_name"), answer.get("model_version"))
            scores = self._scores(answer, rest, keys)
            return Reply({"logits": as_logits(scores, self.settings.scores)}, identity=who)
        except Malformed as error:
            return Reply(malformed=str(error), spoilt=error.spoilt, raw=body, identity=who)
        except Exception as error:  # a server may send anything
            return Reply(malformed=f"not a V2 answer: {type(error).__name__}: {error}", raw=body, identity=who)

    def probes(self) -> list[str]:
        return [self.path, "/v2"] if self.chosen.binary else [self.path]

    def check(self, path: str, status: int, body: bytes) -> None:
        """Raises Stop where metadata says that no call can succeed. Metadata that is not given is not missed."""
        try:
            found = json_object(body)
        except Malformed:
            found = {}
        if path != self.path:
            return self._check_server(found)
        if status in (400, 404):
            said = found.get("error")
            if isinstance(said, str):
                version = " or teacher.options.model_version" if self.chosen.model_version is not None else ""
                raise Stop(
                    f"teacher.model{version}: the server has no {self.path.removeprefix('/v2/models/')!r}; it says: {shown(said)}"
                )
            raise Stop(
                f"teacher.kind: nothing that speaks the Open Inference Protocol answers at {self._place()}: {shown(body)}; {_OTHER}"
            )
        if status == 200:
            if "name" not in found or not ({"inputs", "outputs", "platform", "versions"} & set(found)):
                raise Stop(
                    f"teacher.kind: {self._place()} gives no metadata of the Open Inference Protocol: {shown(body)}; {_OTHER}"
                )
            self._check_input(_tensors(found, "inputs"))
            self._check_output(_tensors(found, "outputs"))
        return None

    def _check_server(self, found: dict[str, Any]) -> None:
        extensions = found.get("extensions")
        offered = isinstance(extensions, list) and "binary_tensor_data" in extensions
        if found.get("name") == "mlserver" and not offered:  # others have it, and do not list it
            raise Stop("teacher.options.binary: MLServer takes no binary tensors over HTTP; set it to false")

    def _check_input(self, offered: list[dict[str, Any]]) -> None:
        if not offered:
            return
        one = next((one for one in offered if one.get("name") == self.chosen.input), None)
        if one is None:
            raise Stop(
                f"teacher.options.input: the model has no input {self.chosen.input!r}; it has {_listed(offered)}"
            )
        if isinstance(one.get("datatype"), str) and one["datatype"] != self.datatype:
            raise Stop(
                f"teacher.options.datatype: the model's input is {_listed([one])}, and {self.datatype} would be sent; kind 'oip' sends "
                "texts as BYTES, images as UINT8 (pixels as they are) or FP32 (with teacher.mean and teacher.std)"
            )
        shape = one.get("shape")
        if isinstance(shape, list) and not _fits(shape, self.shape):
            raise Stop(
                f"teacher.options: the model's input is {_listed([one])}, and {self.inputs.NAME} would be sent as {['B', *self.shape]}; "
                "see teacher.resize, teacher.options.layout (NCHW or NHWC), teacher.options.flatten and data.channels"
            )
        if isinstance(shape, list) and len(shape) > len(self.shape) and 0 < shape[0] < self.settings.batch_size:
            raise Stop(
                f"teacher.batch_size: found {self.settings.batch_size}; the model's input is {_listed([one])}: at most {shape[0]}"
            )

    def _check_output(self, offered: list[dict[str, Any]]) -> None:
        named = [one for one in offered if one.get("name") == self.chosen.output]
        if offered and self.chosen.output and not named:
            raise Stop(
                f"teacher.options.output: the model has no output {self.chosen.output!r}; it has {_listed(offered)}"
            )
        possible = named or offered
        if possible and not any(_last(one) in (-1, self.classes) for one in possible):
            raise Stop(
                f"teacher.model: {self.settings.model!r} gives {_listed(possible)}, but the data has {self.classes} classes; see "
                "teacher.options.output and data.source"
            )
        alike = [str(one.get("name")) for one in offered if _is_matrix(one, self.classes)]
        if not self.chosen.output and len(alike) > 1:
            raise Stop(self._ambiguous(alike))

    def _place(self) -> str:
        return f"{self.path} of teacher.url"

    def _arranged(self, values: np.ndarray) -> np.ndarray:
        """(B, …) in the model's layout."""
        if self.chosen.layout == "NHWC":
            values = np.moveaxis(values, 1, -1)
        return values.reshape(len(values), -1) if self.chosen.flatten else values

    def _scores(self, answer: dict[str, Any], rest: bytes, keys: Sequence[str]) -> np.ndarray:
        if answer.get("error") is not None:
            raise Malformed(f"the server says: {shown(answer['error'])}")
        if answer.get("id") not in (None, "", request_key(keys)):
            raise Malformed(f"answer to another request: id {shown(answer['id'])}, asked as {request_key(keys)!r}")
        version, wanted = answer.get("model_version"), self.chosen.model_version
        if wanted is not None and version not in (None, "") and str(version) != str(wanted):
            raise Malformed(
                f"answered by version {shown(version)}, asked of {str(wanted)!r} (teacher.options.model_version)"
            )
        found = read_outputs(answer, rest)
        if self.chosen.output:
            if self.chosen.output not in found:
                raise Malformed(
                    f"no output {self.chosen.output!r} of numbers, only {', '.join(map(repr, found)) or 'none'}"
                )
            return found[self.chosen.output]
        fitting = [values for values in found.values() if values.shape == (len(keys), self.classes)]
        if not fitting and len(found) != 1:
            shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in found.items())
            raise Malformed(f"no output of shape {[len(keys), self.classes]}, only {shapes or 'none of numbers'}")
        if len(fitting) > 1:
            names = [name for name, values in found.items() if values.shape == (len(keys), self.classes)]
            raise Malformed(self._ambiguous(names))
        return (fitting or list(found.values()))[0]

    def _ambiguous(self, names: Sequence[str]) -> str:
        return (
            f"{len(names)} outputs hold a number for each of the {self.classes} classes, {', '.join(map(repr, names))}: set "
            "teacher.options.output to the one that is meant"
        )


_OTHER = "choose another teacher.kind (mlflow, openai, http) or mend teacher.url"


def _tensors(metadata: dict[str, Any], side: str) -> list[dict[str, Any]]:
    listed = metadata.get(side)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _listed(offered: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one.get('name')} ({one.get('datatype')} {one.get('shape')})" for one in offered)


def _last(one: dict[str, Any]) -> Any:
    shape = one.get("shape")
    return shape[-1] if isinstance(shape, list) and shape else -1


def _is_matrix(one: dict[str, Any], classes: int) -> bool:
    """Whether an output holds numbers, one for each class, for each sample of a batch."""
    shape = one.get("shape")
    return (
        isinstance(shape, list) and len(shape) == 2 and shape[1] == classes and one.get("datatype") in (*TYPES, "BF16")
    )


def _fits(offered: list[Any], shape: Sequence[int]) -> bool:
    """Whether a row of `shape` fits the `offered` one (−1: any size), which begins with the batch, or leaves it out."""
    tail = offered[len(offered) - len(shape) :]
    known = all(isinstance(size, int) for size in offered)
    return known and len(offered) - len(shape) in (0, 1) and all(a in (-1, b) for a, b in zip(tail, shape, strict=True))
