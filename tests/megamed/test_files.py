"""A file is the old one or the new one, never a part."""

import pytest

from megamed.files import replacing


def test_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "state.pt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_content(tmp_path):
    path = tmp_path / "state.pt"
    path.write_text("old")

    def fail_halfway():
        with replacing(path) as partial:
            partial.write_text("ne")
            message = "disk full"
            raise OSError(message)

    with pytest.raises(OSError, match="disk full"):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("kept")
    link.symlink_to(target)
    with replacing(link) as partial:
        partial.write_text("new")
    assert target.read_text() == "kept"
    assert link.read_text() == "new"
    assert not link.is_symlink()
