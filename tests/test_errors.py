"""What a stage says to wrong arguments: one message with the usage and exit status 2, before it reads or writes anything."""

import runpy
import sys

import pytest

NONE = ["stages.prepare", "stages.transfer", "stages.pretrain", "stages.report", "tuition.tracking"]
BUDGET = ["stages.teach", "stages.compare"]
CELL = ["stages.train", "stages.evaluate"]
WRONG = [
    *[(name, argv, "expected no arguments", "") for name in NONE for argv in (["4"], ["--help"])],
    ("stages.register", ["4"], "expected no arguments, or check", " [check]"),
    *[(name, argv, "expected 1 argument;", " <budget>") for name in BUDGET for argv in ([], ["40", "ce"])],
    *[(name, [text], f"<budget>: found '{text}'", " <budget>") for name in BUDGET for text in ("forty", "-4", "²")],
    *[
        (name, argv, "expected 3 arguments", " <budget> <method> <seed>")
        for name in CELL
        for argv in ([], ["40", "ce"])
    ],
    *[(name, ["x", "ce", "0"], "<budget>: found 'x', expected a whole number", " <seed>") for name in CELL],
    *[(name, ["40", "ce", "0.5"], "<seed>: found '0.5'", " <seed>") for name in CELL],
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # runpy's, of modules that other tests have imported
@pytest.mark.parametrize(("module", "argv", "said", "usage"), WRONG)
def test_wrong_arguments_are_told_with_the_usage_and_status_2(module, argv, said, usage, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, *argv])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__")
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.startswith(f"error: {module}: ")
    assert error.count("\n") == 1
    assert said in error
    assert f"usage: python -m {module}" in error
    assert error.rstrip().endswith(usage)
    assert not any(path.name != "ledger.db" for path in tmp_path.iterdir())
