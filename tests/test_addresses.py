"""No message shows a password, or a part of one, whatever characters nobody escaped in it; and it says how to escape them."""

import os

import pytest

from flows.services import api
from tuition.addresses import check_database, shown, split_user
from tuition.errors import UserError
from tuition.ledger.database import LedgerError, open_existing, open_ledger
from tuition.params.load import load
from tuition.tracking import address, store

HOSTS = "@host/d", "@host:5432/d?sslmode=require"
SPOILT = ["p@s3cr", "p@s3cr/x", "p@s3cr@t", "p:p@s3cr", "p?a@s3cr", "p@s?a@s3cr"]
BAD = [f"postgresql://u:{password}{host}" for password in SPOILT for host in HOSTS if password != "p?a@s3cr"]
GOOD = [
    *(f"postgresql://{user}@host/d" for user in ("u", "u:p%40s3cr", "u:p/s3cr", "u:p:s3cr", "me@tenant:s3cr")),
    "postgresql://u:x@host/d?password=p@s3cr",
    "postgresql://host/d?user=u&password=p@s3cr",
    "sqlite:////tmp/a:b@c@d/ledger.db",
]


@pytest.mark.parametrize("url", BAD)
def test_a_database_whose_password_is_cut_at_its_at_sign_is_refused_unseen(url, monkeypatch):
    monkeypatch.setenv("TUITION_LEDGER", url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    for use, variable in (
        (open_ledger, "TUITION_LEDGER"),
        (open_existing, "TUITION_LEDGER"),
        (lambda: store.connect_store("study"), "MLFLOW_TRACKING_URI"),
    ):
        with pytest.raises(UserError, match=rf"^{variable}: .*not shown.*write @ as %40") as error:
            use()
        assert "s3cr" not in str(error.value)
    assert "s3cr" not in shown(f"could not use {url} just now")


@pytest.mark.parametrize("url", GOOD)
def test_what_can_be_read_is_not_refused(url):
    check_database("here", url)


def test_a_ledger_without_slashes_is_no_file_whose_name_is_shown(monkeypatch):
    monkeypatch.setenv("TUITION_LEDGER", "postgresql:u:p@s3cr@host/d")
    with pytest.raises(LedgerError, match=r"cannot be read as a URL.*%40") as error:
        open_existing()
    assert "s3cr" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://u:p@s3cr@host:1/v1 failed", "http://host:1/v1 failed"),
        ("at 'https://s3cr@host/x', twice: https://u:s3cr@host", "at 'https://host/x', twice: https://host"),
        ("postgresql://u:p/s3cr@host/d", "postgresql://host/d"),
        ("http://host/d?api_key=s3cr&x=1", "http://host/d?api_key=***&x=1"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
        ("https://host/@cf/model", "https://host/@cf/model"),
    ],
)
def test_texts_are_shown_without_users_and_passwords(text, told):
    assert shown(text) == told


def test_a_user_is_split_off():
    assert split_user("here", "http://u:p@s3cr@host:1/v1") == ("http://host:1/v1", "u", "p@s3cr")
    assert split_user("here", "http://u:p%40s@host") == ("http://host", "u", "p@s")
    assert split_user("here", "http://host:8000/@cf/m") == ("http://host:8000/@cf/m", "", "")
    for url in ("http://u:p/s3cr@host", "http://u:12#s3cr@host", "http://u:12?s3cr@host", "http://u:p[s3cr@host"):
        with pytest.raises(UserError, match=r"here: .*write @ as %40") as error:
            split_user("here", url)
        assert "s3cr" not in str(error.value)


def test_mlflow_is_given_a_servers_password_where_it_shows_it_nowhere(monkeypatch):
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p@s3cr@127.0.0.1:9/base")
    assert address.tracking_uri() == "http://127.0.0.1:9/base"
    found = [os.environ[f"MLFLOW_TRACKING_{name}"] for name in ("URI", "USERNAME", "PASSWORD")]
    assert found == ["http://127.0.0.1:9/base", "me", "p@s3cr"]
    assert address.tracking_uri() == "http://127.0.0.1:9/base"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "p@s3cr"


def test_prefect_is_given_none_in_its_address():
    with pytest.raises(UserError, match=r"PREFECT_API_AUTH_STRING=user:password.*: http://host:4200/api$") as error:
        api.without_user("http://me:p@s3cr@host:4200/api")
    assert "s3cr" not in str(error.value)
    assert api.without_user("http://host:4200/api") == "http://host:4200/api"


def test_params_that_are_not_valid_are_told_without_passwords(tmp_path):
    for text in ("teacher: {kind: openai, url: ['http://u:p@s3cr@host']}\n", 'teacher: {url: "http://u:p@s3cr@h", [\n'):
        (tmp_path / "params.yaml").write_text(text)
        with pytest.raises(UserError) as error:
            load(tmp_path / "params.yaml")
        assert "s3cr" not in str(error.value)
