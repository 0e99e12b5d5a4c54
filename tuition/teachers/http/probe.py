"""What is asked free of charge before the first call: is the server there, is it ready, and is it one that the format knows?"""

import itertools

from tuition.teachers.http.client import Client, wait_before_next
from tuition.teachers.http.format import Format
from tuition.teachers.http.transport import Failure, Response
from tuition.teachers.protocol import Stop


async def probe(client: Client, format: Format, patience: float) -> None:
    """GET each of the format's probes. Raises Stop where no call could succeed, and where the server is not ready within `patience`
    seconds."""
    for path in format.probes():
        await _probe(client, format, path, patience)


async def _probe(client: Client, format: Format, path: str, patience: float) -> None:
    clock = client.limit.clock
    end = clock() + patience
    for number in itertools.count(1):
        reached = client.reached
        one = await client.attempt("GET", path)
        result, outcome = one.result, one.outcome
        if isinstance(result, Response) and outcome.fate != "refused":
            if result.status == 401 or 300 <= result.status < 400:  # 403 may be said of this path alone
                raise Stop(outcome.text)
            return format.check(path, result.status, client.address.secrets.hide_bytes(result.body))
        text = outcome.text if outcome.fate == "stop" else f"teacher.url: {outcome.text}"
        wait = wait_before_next(outcome, number)
        if outcome.fate == "stop" or (isinstance(result, Failure) and not reached):
            raise Stop(text)
        if clock() + wait > end:
            raise Stop(f"{text}; it was not ready for {patience:g} s (teacher.patience)")
        await client.waiting.wait(wait, end - clock(), text)
    raise AssertionError("a count has no end")
