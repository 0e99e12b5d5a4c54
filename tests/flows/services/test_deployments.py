"""prefect.yaml is sound, and what is not is refused before anything is deployed, with the deployment's name."""

import shutil

import pytest
import yaml
from support import ROOT

from flows.services import deployments
from tuition.errors import UserError

PLAN = yaml.safe_load((ROOT / "prefect.yaml").read_text())


@pytest.fixture
def plan(tmp_path):
    """Writes prefect.yaml with `study` changed, beside the flows; returns its path."""
    shutil.copytree(ROOT / "flows", tmp_path / "flows", ignore=shutil.ignore_patterns("__pycache__"))

    def write(*changes: dict):
        study = PLAN["deployments"][0]
        path = tmp_path / "prefect.yaml"
        path.write_text(yaml.safe_dump({**PLAN, "deployments": [{**study, **change} for change in changes]}))
        return path

    return write


def test_ours_is_sound():
    names = [deployments.deployment_name(one) for one in deployments.read_deployments(ROOT / "prefect.yaml")]
    assert names == ["distill/study", "refresh/nightly", "score/folder"]


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        {"interval": 3600},
        {"interval": 86400, "anchor_date": "2020-01-01T00:00:00+00:00", "timezone": "UTC"},
        {"rrule": "FREQ=WEEKLY;BYDAY=MO", "timezone": "UTC"},
    ],
)
def test_schedules_that_come_again(plan, schedule):
    assert len(deployments.read_deployments(plan({"schedules": [schedule]}))) == 1


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"rrule": "DTSTART:20200101T000000Z\nRRULE:FREQ=DAILY;UNTIL=20210101T000000Z"},
            r"schedules\[0\].*never comes again",
        ),
        (
            {"rrule": "DTSTART:20200101T000000Z\nRRULE:FREQ=DAILY;COUNT=3", "slug": "thrice"},
            r"\(thrice\).*never comes again",
        ),
        ({"cron": "0 0 30 2 *"}, r"cron '0 0 30 2 \*'"),
        ({"cron": "0 25 * * *"}, r"cron '0 25 \* \* \*' is no valid schedule"),
        ({"cron": "0 3 * * *", "timezone": "Mars/Olympus"}, r"is no valid schedule.*Mars/Olympus"),
        ({"interval": -5}, r"interval -5 is no valid schedule"),
        ({"cron": "0 3 * * *", "interval": 60}, r"expected one of cron, interval, rrule"),
        ({"active": True}, r"expected one of cron, interval, rrule"),
    ],
)
def test_a_schedule_that_never_comes_is_refused(plan, schedule, message):
    with pytest.raises(UserError, match=r"prefect\.yaml: distill/study: ") as told:
        deployments.read_deployments(plan({"schedules": [schedule]}))
    assert told.match(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entrypoint": "flows/gone.py:distill"}, r"gone\.py:distill'.*No such file"),
        ({"entrypoint": "flows/distill.py:distil"}, r"'distil' is not known\. Did you mean 'distill'\?"),
        ({"work_pool": {"name": "other"}}, r"work_pool\.name: found 'other', expected 'tuition'"),
        (
            {"work_pool": {"name": "tuition"}},
            r"work_queue_name: found None, expected 'workspace'.*share this workspace",
        ),
    ],
)
def test_a_deployment_that_would_fail_is_refused(plan, change, message):
    with pytest.raises(UserError, match=message):
        deployments.read_deployments(plan({}, {"name": "other", **change}))


def test_two_of_one_name(plan):
    with pytest.raises(UserError, match=r"distill/study stands twice"):
        deployments.read_deployments(plan({}, {}))


@pytest.mark.parametrize("text", ["", "deployments: []", "deployments: [study]", "a: ["])
def test_a_file_that_is_none(tmp_path, text):
    (tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(UserError, match=r"prefect\.yaml: "):
        deployments.read_deployments(tmp_path / "prefect.yaml")
    with pytest.raises(UserError, match=r"no such file here"):
        deployments.read_deployments(tmp_path / "other.yaml")


@pytest.mark.parametrize("entrypoint", [one["entrypoint"] for one in PLAN["deployments"]])
def test_every_field_of_the_form_is_explained(entrypoint, monkeypatch):
    """Prefect takes the descriptions from the docstring's `Args:`; those of Annotated[…, Field(description=…)] it drops."""
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    monkeypatch.chdir(ROOT)
    fields = parameter_schema(load_flow_from_entrypoint(entrypoint)).model_dump_for_openapi()["properties"]
    assert fields
    for name, field in fields.items():
        assert field.get("title"), name
        assert field.get("description"), name
        assert "type" in field or "anyOf" in field, name
    for name in {"runner", "strategy", "every"} & set(fields):
        choices = [kind["enum"] for kind in fields[name]["anyOf"] if "enum" in kind]
        assert len(choices) == 1, name
