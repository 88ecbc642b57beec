"""Which tests share a process of pytest-xdist, and in which order they are handed out.

The tests of a file share one, so that what they have in common is made once; so do all tests that fork the warm process
of `tests.warm`. Tests of whole commands, which lie in `tests` itself and take longest, come first: else one process
would be busy with the last of them while the others have nothing to do.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling


class ByFile(LoadGroupScheduling):
    """Hands out groups of tests, and the other tests by file."""

    def _split_scope(self, nodeid: str) -> str:
        return super()._split_scope(nodeid).split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    """Called by pytest-xdist for what hands out tests."""
    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False  # to number of tests
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called by pytest with all tests, before pytest-xdist puts the names of their groups into theirs."""
    for item in items:
        if "scripts" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("scripts"))
    items.sort(key=lambda item: len(item.path.parts))
