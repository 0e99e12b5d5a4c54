"""What is asked of every server in OpenAI's format beside its answers: its list of models, free of charge."""

from collections.abc import Mapping
from typing import Any

from tuition.errors import unknown
from tuition.params.teacher import OpenAISettings
from tuition.teachers.formats.bodies import Malformed, json_object, shown, status_of_error
from tuition.teachers.protocol import Stop


class OpenAIServer:
    """Errors that come as answers, and the list of models."""

    settings: OpenAISettings

    def parsed(self, body: bytes) -> dict[str, Any]:
        """The JSON of an answer. Raises Malformed where there is none."""
        return json_object(body)

    def inner_status(self, body: bytes, headers: Mapping[str, str]) -> int | None:
        """The status of an error that came with status 200."""
        try:
            return status_of_error(self.parsed(body))
        except Malformed:
            return None

    def probes(self) -> list[str]:
        return ["/models"]

    def check(self, path: str, status: int, body: bytes) -> None:
        """Raises Stop where the server lists its models without ours, or is another kind of server."""
        _check_models(path, status, body, self.settings.model)


def _check_models(path: str, status: int, body: bytes, model: str | None) -> None:
    """Raises Stop where the server lists its models without `model`, or is another kind of server. Not all servers list them."""
    if status != 200:
        return
    try:
        listed = json_object(body).get("data")
    except Malformed:
        listed = None
    if not isinstance(listed, list):
        raise Stop(
            f"teacher.url: {path} of it lists no models: {shown(body)}; kind 'openai' needs the address up to and with /v1 of a server "
            "of chat completions; for others choose another teacher.kind"
        )
    models = [one for one in listed if isinstance(one, dict)]
    names = {str(one.get("id")) for one in models}
    for one in models:
        names.update(map(str, one["aliases"] if isinstance(one.get("aliases"), list) else []))
    if model not in names:
        raise Stop(str(unknown("teacher.model", model, names, "(models that teacher.url offers)")))
