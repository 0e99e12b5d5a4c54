"""Methods' names and settings: variants, +kd, and errors that name the key, what was found and what is valid."""

import pytest

from tuition.errors import UserError
from tuition.methods import check_settings, load_class, resolve


def test_an_unknown_method_lists_the_methods():
    with pytest.raises(
        UserError, match=r"'dkdd' is not known\. Did you mean 'dkd'\? Valid: ab, at, .*ckd-kl, ckd-mse, .*vid"
    ):
        load_class("dkdd")


def test_a_method_with_a_kd_of_its_own_gets_no_second_one():
    for name in ("kd+kd", "mine"):
        with pytest.raises(UserError, match="kd"):
            check_settings(name, {"method": "kd+kd"} if name == "mine" else {})


def test_a_name_may_be_a_variant_and_end_in_plus_kd():
    assert resolve("mine", {"method": "ckd-mse+kd", "labels": "none"}) == ("ckd-mse", True, {"labels": "none"})
    assert resolve("icd+kd", None) == ("icd", True, {})
    with pytest.raises(UserError, match=r"methods\.mine\.method: 'ckdmse' is not known\. Did you mean 'ckd-mse'"):
        resolve("mine", {"method": "ckdmse"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 4.0}, r"methods\.kd: 'temprature' is not known\. Did you mean 'temperature'"),
        ({"temperature": "hot"}, r"methods\.kd\.temperature: found 'hot'"),
        ({"temperature": 0.0}, r"methods\.kd\.temperature: found 0\.0\. Input should be greater than 0"),
        ({"weight_kd": -1.0}, r"methods\.kd\.weight_kd: found -1\.0\. Input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(UserError, match=message):
        check_settings("kd", settings)
