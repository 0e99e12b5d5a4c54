"""The list of models that a server in OpenAI's format offers, asked for free of charge."""

from tuition.errors import unknown
from tuition.teachers.formats.bodies import Malformed, json_object, shown
from tuition.teachers.protocol import Stop


def check_models(path: str, status: int, body: bytes, model: str | None) -> None:
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
