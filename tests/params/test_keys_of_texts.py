"""Keys of params.yaml that do not go with texts, or with texts alone: each is refused by its name before anything is read."""

import pytest

from tuition import params as parameters
from tuition.errors import UserError
from tuition.params import edits

STUDY = """
study: {budgets: [40], methods: [kd], seeds: [0]}
data: {source: wordnet}
teacher: {kind: python, name: mine, function: "mine:scores"}
student: {arch: ngram}
methods: {kd: {}}
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(STUDY)
    return tmp_path / "params.yaml"


def load(path, key, value):
    edits.apply([edits.Edit("test", key.split("."), value)], path, lambda changed: None)
    return parameters.load(path)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("data.resize", 32, "which have no pixels"),
        ("data.channels", 3, "which have no pixels"),
        ("teacher.resize", 32, "which have no pixels"),
        ("train.crop", 4, "which are not cropped"),
        ("train.flip", True, "which are not mirrored"),
        ("student.taps", ["embedding"], "of their students transformers:<folder> alone has maps"),
        ("teach.views", 3, "which have no views"),
        ("teach.mixed", True, "cannot be mixed"),
        ("transfer.source", "wordnet", "no linear probe"),
    ],
)
def test_what_a_text_has_not_is_refused(study, key, value, told):
    with pytest.raises(UserError, match=rf"{key}: found .*, but the samples are texts, .*{told}"):
        load(study, key, value)


def test_other_kinds_of_sources_teachers_encoders_and_students_are_refused_with_those_that_fit(study):
    for key, value, told in (
        (
            "encode.source",
            "pixels",
            "encode.source: found 'pixels', .*valid: none, tfidf, sentence:<folder>, file:<path>",
        ),
        (
            "student.arch",
            "resnet8",
            r"student\.arch: 'resnet8' is not known\. Valid: ngram, static, text-cnn, text-transformer",
        ),
        (
            "teacher",
            {
                "kind": "experts",
                "experts": [{"arch": "resnet8", "weights": "w.pt"}] * 2,
                "free": {"arch": "a", "weights": "w"},
            },
            "teacher.kind: found 'experts'.*valid: checkpoint, python, table, openai",
        ),
        (
            "teacher",
            {"kind": "checkpoint"},
            "teacher.weights: found 'teacher', which the pretrain stage trains from images",
        ),
        (
            "data",
            {"source": "folder:x", "columns": {"text": "t"}},
            "data.source: 'folder' is not known. Valid: csv, hf",
        ),
    ):
        study.write_text(STUDY)
        with pytest.raises(UserError, match=told):
            load(study, key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("student.encoder", "minilm"),
        ("student.vocabulary", 500),
        ("student.max_tokens", 9),
        ("train.token_dropout", 0.1),
        ("train.span_masking", 0.1),
        ("encode.source", "tfidf"),
        ("encode.source", "sentence:minilm"),
        ("teacher", {"kind": "checkpoint", "max_text_tokens": 9}),
    ],
)
def test_what_is_of_texts_alone_is_refused_of_images(study, key, value):
    study.write_text(STUDY.replace("wordnet", "mnist5k").replace("ngram", "resnet8"))
    with pytest.raises(UserError, match=rf"{key}\S*: found .*, which is of texts, but the samples are images"):
        load(study, key, value)


@pytest.mark.parametrize(
    ("student", "told"),
    [
        (
            {"arch": "ngram", "encoder": "minilm"},
            r"student\.encoder: found 'minilm', but 'ngram' begins with no encoder",
        ),
        (
            {"arch": "transformers:a", "encoder": "minilm"},
            r"student\.encoder: found 'minilm', but 'transformers:a' begins",
        ),
        ({"arch": "static"}, r"student\.encoder: found null; 'static' is made of an encoder"),
        ({"arch": "transformers:a", "vocabulary": 500}, r"student\.vocabulary: found 500, .* reads the tokens of a"),
        ({"arch": "transformers:"}, r"student\.arch: 'transformers:' is not known.*Or transformers:<folder>"),
    ],
)
def test_a_student_that_begins_with_an_encoder_names_one(study, student, told):
    with pytest.raises(UserError, match=told):
        load(study, "student", student)


def test_every_key_at_its_default_is_a_study_of_texts(study):
    from tuition.params.written import whole

    study.write_text(whole(parameters.load(study)))
    assert parameters.load(study).data.inputs == "texts"


def test_methods_that_look_into_images_are_told(study):
    from tuition.preflight import check_methods

    for name, told in (("mixup", "looks inside a sample and takes images"), ("at", "reads maps inside the student")):
        params = parameters.load(study)
        changed = params.model_copy(
            update={"study": params.study.model_copy(update={"methods": [name]}), "methods": {name: {}}}
        )
        with pytest.raises(UserError, match=rf"study\.methods: '{name}' {told}.*Methods that would work: .*kd"):
            check_methods(changed, None, inputs="texts")
