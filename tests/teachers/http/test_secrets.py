"""A planted key, password and query are searched for in everything that leaves the client; and what addresses are taken as."""

import base64
import gc
import json
import logging
import ssl
import traceback
from urllib.parse import quote

import pytest
from support import loopback as lo
from support.loopback import Server, status
from support.plain import Plain, ask, teacher

from tuition.addresses import Secrets
from tuition.errors import UserError
from tuition.teachers import Refused, Reply, Stop, Uncertain, backoff
from tuition.teachers.http.address import Address

KEY = 'sk-Pl4nted"Key/\\with+signs'
PASSWORD = "p@ss:word"
TOKEN = "t0ken-in-the-query"
FORMS = [
    form for one in (KEY, PASSWORD, TOKEN) for form in (one, quote(one), quote(one, safe=""), json.dumps(one)[1:-1])
]
FORMS += [base64.b64encode(f"user:{PASSWORD}".encode()).decode()]


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.fixture
def logged(monkeypatch):
    """Everything that is logged at DEBUG by anybody, and asyncio's debug mode."""
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.02)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    monkeypatch.setenv("PLANTED", KEY)
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = Keep(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


def with_password(server: Server) -> str:
    return server.url.replace("//", f"//user:{quote(PASSWORD, safe='')}@") + f"/base?key={TOKEN}"


def written(error: BaseException) -> str:
    """An exception as anybody may print it: its chain, also where it is not shown, and the objects in it."""
    parts = ["".join(traceback.format_exception(error))]
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            parts += [repr(one), str(one), repr(one.args), repr(vars(one)), *map(repr, getattr(one, "__notes__", []))]
            chain += [one.__cause__, one.__context__]
    return "\n".join(parts)


def nothing_planted(text: str) -> None:
    assert [form for form in FORMS if form in text] == []


def echo_as(code: int):
    """Say back all that was sent and meant, in the body and in headers."""

    async def behave(server, request, writer) -> None:
        kind, given = request.headers["authorization"].split(" ", 1)
        meant = base64.b64decode(given).decode().partition(":")[2] if kind == "Basic" else given
        said = f"{meant} {quote(meant)} {json.dumps([meant, request.path, request.headers])}".encode()
        writer.write(
            lo.whole(
                said, code, {"X-Echo": request.headers["authorization"], "Location": f"http://x/?{TOKEN}#{quote(KEY)}"}
            )
        )

    return behave


FAULTS = {
    "401": echo_as(401),
    "404": echo_as(404),
    "302": echo_as(302),
    "429": echo_as(429),
    "500": echo_as(500),
    "closes": lo.closes_after,
    "no http": lo.no_http,
    "stalls": lo.stalls,
    "cut off": lo.cut_off,
}


@pytest.mark.parametrize("how", ["key", "password"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_no_log_and_no_repr_shows_a_secret(server, logged, fault, how, capfd):
    if how == "key":
        one = teacher(f"{server.url}/base?key={TOKEN}", api_key_env="PLANTED", timeout=0.3, patience=0.2)
    else:
        one = teacher(with_password(server), timeout=0.3, patience=0.2)
    server.script.extend([FAULTS[fault]] * 1000)
    with pytest.raises((Stop, Refused, Uncertain)) as raised:
        ask(one, 1)
    expected = f"Bearer {KEY}" if how == "key" else f"Basic {base64.b64encode(f'user:{PASSWORD}'.encode()).decode()}"
    assert server.received[0].headers["authorization"] == expected  # it was there to be shown
    assert server.received[0].path == f"/base/ask?key={TOKEN}"
    nothing_planted(written(raised.value))
    nothing_planted(
        repr(one)
        + repr(one.client.address)
        + repr(one.client.address.secrets)
        + repr(one.description)
        + repr(one.client)
        + repr(one.client.transport)
    )
    gc.collect()  # sessions and tasks that were left open would say so now
    out, err = capfd.readouterr()
    nothing_planted("\n".join(logged) + out + err)


def test_no_malformed_answer_shows_a_secret(server, logged, monkeypatch):
    async def told(server, request, writer) -> None:
        writer.write(lo.whole(json.dumps({"headers": request.headers, "again": KEY}).encode() + KEY.encode()))

    class Talks(Plain):
        def read(self, body, headers, keys):
            if keys[0].startswith("00000001"):
                return Reply(malformed=f"what is {body.decode()}?")
            raise ValueError(body.decode())

    server.script.extend([told, told])
    for reply in ask(teacher(server, Talks(), api_key_env="PLANTED"), 1, 2):
        nothing_planted(reply.malformed + reply.raw.decode())
        assert "[hidden]" in reply.malformed
        assert b"[hidden]" in reply.raw
    nothing_planted("\n".join(logged))


@pytest.mark.parametrize("fault", [echo_as(401), echo_as(404), echo_as(503), lo.closes_before])
def test_no_probe_shows_a_secret(server, logged, fault):
    class Asks(Plain):
        def check(self, path, code, body):
            raise Stop(f"teacher.model: {path} says {body.decode()}")

    server.probes.extend([fault] * 1000)
    with pytest.raises(Stop) as raised:
        ask(teacher(server, Asks(("/models",)), api_key_env="PLANTED", patience=0.2), 1)
    nothing_planted(written(raised.value) + "\n".join(logged))


@pytest.mark.parametrize(
    "url",
    ["http://user:{}@127.0.0.1:9", "https://user:{}@127.0.0.1:9/x?key=" + TOKEN, "http://user:{}@nowhere.invalid"],
)
def test_no_failed_connection_shows_a_secret(logged, url, monkeypatch):
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    with pytest.raises(Stop, match=r"teacher\.url") as raised:
        ask(teacher(url.format(quote(PASSWORD, safe=""))), 1)
    nothing_planted(written(raised.value) + "\n".join(logged))


def test_a_key_that_is_not_there_or_that_no_header_can_have(monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(UserError, match=r"teacher\.api_key_env: .* NO_KEY"):
        teacher("http://127.0.0.1:9", api_key_env="NO_KEY")
    for key in ("", "  ", f"{KEY}\nsecond", f"{KEY}ä"):
        monkeypatch.setenv("BAD_KEY", key)
        with pytest.raises(UserError, match="BAD_KEY") as raised:
            teacher("http://127.0.0.1:9", api_key_env="BAD_KEY")
        nothing_planted(written(raised.value))
    monkeypatch.setenv("BAD_KEY", f" {KEY}\n")  # as a file's last line
    assert teacher("http://127.0.0.1:9", api_key_env="BAD_KEY").client.address.headers == {
        "Authorization": f"Bearer {KEY}"
    }


@pytest.mark.parametrize(
    "url", ["http://", "ftp://host", f"http://user:{PASSWORD}@host:{PASSWORD}", f"http://user:{PASSWORD}@[::1"]
)
def test_what_is_no_address(url):
    from types import SimpleNamespace

    with pytest.raises(UserError, match=r"teacher\.url") as raised:
        Address(SimpleNamespace(url=url, api_key_env=None), ("Authorization", "Bearer {}"))
    nothing_planted(written(raised.value))


def test_a_user_and_a_key_cannot_both_be_sent(monkeypatch):
    monkeypatch.setenv("PLANTED", KEY)
    with pytest.raises(UserError, match="only one"):
        teacher("http://user:word@127.0.0.1:9", api_key_env="PLANTED")


def test_addresses_with_paths_and_queries():
    one = teacher("http://user@127.0.0.1:9/base/?a=b").client.address
    assert one.to("/x?c=d") == "http://127.0.0.1:9/base/x?a=b&c=d"
    assert one.place == "http://127.0.0.1:9/base"
    assert one.headers == {"Authorization": f"Basic {base64.b64encode(b'user:').decode()}"}
    assert [
        teacher(f"http://{host}:9").client.address.loopback
        for host in ("localhost", "127.1.2.3", "[::1]", "10.0.0.1", "a.b")
    ] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_secret_that_holds_another_is_hidden_whole():
    assert Secrets("abc", "abcdef").hide("x abcdef y abc") == "x [hidden] y [hidden]"
    assert Secrets("").hide("nothing to hide") == "nothing to hide"


def test_a_machine_of_ones_own_is_never_asked_through_a_proxy(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(teacher(server), 1)[0].malformed is None


def test_others_are_asked_through_the_proxy_of_the_environment(server, monkeypatch, logged):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.url.replace("//", f"//user:{quote(PASSWORD, safe='')}@"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "other.invalid")
    assert ask(teacher("http://teacher.invalid/base", api_key_env="PLANTED"), 1)[0].malformed is None
    (sent,) = server.received
    assert sent.path == "http://teacher.invalid/base/ask"
    assert sent.headers["proxy-authorization"].startswith("Basic ")
    with pytest.raises(Stop, match=r"teacher\.url: http://other\.invalid cannot be reached"):
        ask(teacher("http://other.invalid"), 2)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, server.url.replace("//", f"//user:{quote(PASSWORD, safe='')}@"))
    for url in (
        "http://teacher.invalid",
        "https://teacher.invalid",
    ):  # through the proxy, and through a tunnel that it refuses
        server.script.append(status(407))
        with pytest.raises(Stop, match="407") as raised:
            ask(teacher(url, api_key_env="PLANTED"), 3)
        nothing_planted(written(raised.value) + "\n".join(logged))
    assert server.received[-1].method == "CONNECT"
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"socks5://user:{PASSWORD}@127.0.0.1:9")
    with pytest.raises(UserError, match="HTTP_PROXY") as unusable:
        teacher("http://teacher.invalid")
    nothing_planted(written(unusable.value))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "teacher")]),
    )
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return str(folder / "certificate.pem"), str(folder / "key.pem")


def test_a_certificate_is_verified(certificate, monkeypatch, logged):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with Server(certificate=certificate) as server:
        with pytest.raises(Stop, match=r"teacher\.url: no secure connection to https://127\.0\.0\.1") as raised:
            ask(teacher(server, api_key_env="PLANTED"), 1)
        assert server.received == []
        nothing_planted(written(raised.value) + "\n".join(logged))
        assert ssl.get_default_verify_paths().openssl_cafile_env == "SSL_CERT_FILE"
        monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
        assert ask(teacher(server, api_key_env="PLANTED"), 1)[0].malformed is None


def test_https_where_there_is_none_and_http_where_there_is_https(server, certificate):
    with pytest.raises(Stop, match=r"teacher\.url: no secure connection"):
        ask(teacher(server.url.replace("http:", "https:")), 1)
    with Server(certificate=certificate) as secure, pytest.raises(Stop, match=r"teacher\.url"):
        ask(teacher(secure.url.replace("https:", "http:"), Plain(("/ready",))), 1)
