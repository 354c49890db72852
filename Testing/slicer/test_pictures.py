"""The drawing of the documentation's pictures: where they go. What they show is looked at, not tested."""

import pytest

from Testing.slicer_host import screenshots


@pytest.fixture
def asked(monkeypatch):
    """Folders that pictures were asked for, in place of drawing them."""
    folders = []
    monkeypatch.setattr(screenshots, "write_pictures", lambda *targets: folders.append(targets))
    return folders


def test_the_help_of_the_pictures_draws_none(asked, capsys):
    with pytest.raises(SystemExit) as stopped:
        screenshots.main(["--help"])
    assert stopped.value.code == 0 and "--out FOLDER" in capsys.readouterr().out and not asked


def test_an_unknown_argument_draws_no_pictures(asked, capsys):
    with pytest.raises(SystemExit) as stopped:
        screenshots.main(["--outt", "here"])
    assert stopped.value.code == 2 and not asked


def test_pictures_go_to_the_folder_asked_for_and_leave_the_repositorys_alone(asked, tmp_path):
    screenshots.main(["--out", str(tmp_path)])
    screenshots.main([])
    assert asked == [(tmp_path, tmp_path), (screenshots.SCREENSHOTS, screenshots.THUMBNAILS)]
