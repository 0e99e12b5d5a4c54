"""params.yaml in another encoding than UTF-8 is told; a byte order mark is none."""

import codecs

import pytest
from support import write_params
from support.registry import tuition

from flows.services.deployments import read_deployments
from tuition import params as parameters
from tuition.errors import UserError
from tuition.params import edits


@pytest.fixture
def named(workspace):
    """params.yaml with a letter that is not ASCII, in its second line."""
    write_params(workspace)
    path = workspace / "params.yaml"
    text = "# one\n# señal\n" + path.read_text(encoding="utf-8").replace("…", "...")
    text = text.encode("latin-1", errors="replace").decode("latin-1")
    path.write_text(text, encoding="utf-8")
    return path, text


@pytest.mark.parametrize(
    ("encoding", "said"), [("latin-1", "the byte 0xf1 in line 2"), ("utf-16", "UTF-16"), ("utf-16-be", "UTF-16")]
)
def test_another_encoding_is_told(named, encoding, said):
    path, text = named
    path.write_bytes((codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b"") + text.encode(encoding))
    before = path.read_bytes()
    for read in (parameters.load, lambda: edits.apply([edits.Edit("x", ["train", "steps"], 3)])):
        with pytest.raises(UserError, match=rf"params.yaml: not UTF-8: found {said}; save it as UTF-8"):
            read()
    assert path.read_bytes() == before
    assert "not UTF-8" in tuition("check").output


def test_a_byte_order_mark_is_accepted(named):
    path, text = named
    path.write_bytes(text.encode("utf-8-sig"))
    steps = parameters.load().train.steps
    edits.apply([edits.Edit("x", ["train", "steps"], steps + 1)])
    assert parameters.load().train.steps == steps + 1
    assert "# señal" in path.read_text(encoding="utf-8")


def test_other_files_of_the_user_are_told_too(workspace):
    (workspace / "prefect.yaml").write_bytes("# señal\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"prefect.yaml: not UTF-8"):
        read_deployments()
    (workspace / "mine.yaml").write_bytes("# señal\n".encode("latin-1"))
    write_params(workspace)
    assert "mine.yaml: not UTF-8: found the byte 0xf1 in line 1" in tuition("use", "mine.yaml").output
