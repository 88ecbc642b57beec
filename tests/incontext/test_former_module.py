"""Names of earlier versions, which people's scripts import."""

import subprocess
import sys
from importlib import import_module

import pytest

import incontext

NAMES = {"read_case": "read_source_image", "read_label_case": "read_label_image", "write_mask": "write_mask"}


@pytest.mark.parametrize(("former", "name"), NAMES.items())
def test_a_former_name_is_the_same_function_and_says_its_new_name(former: str, name: str) -> None:
    cases = import_module("incontext.cases")
    with pytest.warns(DeprecationWarning, match=rf"incontext\.cases\.{former} is deprecated: use incontext\.{name}\."):
        assert getattr(cases, former) is getattr(incontext, name)


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match=r"incontext\.cases"):
        _ = import_module("incontext.cases").read_volume
    assert incontext.cases is import_module("incontext.cases")


def test_a_script_is_warned_at_its_own_line() -> None:
    program = "from incontext.cases import read_case"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "<string>:1: DeprecationWarning" in run.stderr


def test_the_package_imports_nothing_costly() -> None:
    program = "import sys, incontext, incontext.cases; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
