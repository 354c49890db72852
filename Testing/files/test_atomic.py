"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
import textwrap

import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.atomic import StagedFiles, atomic_file, atomic_folder, unwritable


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_ctrl_c_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), StagedFiles() as staged:
        staged.path(tmp_path / "a.txt").write_text("one")
        staged.path(tmp_path / "b.txt").write_text("two")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_folders_made_for_a_failed_write_go_again(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "new" / "deep" / "a.txt"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "mine" / "deep" / "a.txt"):
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["mine"]


def test_all_files_of_a_set_appear_together(tmp_path):
    with StagedFiles() as staged:
        staged.path(tmp_path / "a.txt").write_text("one")
        staged.path(tmp_path / "deep" / "b.txt").write_text("two")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() + (tmp_path / "deep" / "b.txt").read_text() == "onetwo"


def test_a_new_file_can_be_read_by_whoever_may_read_other_new_files(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("one")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_temporary_file_keeps_the_whole_ending(tmp_path):
    with atomic_file(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith("a.nii.gz")
        assert temporary.parent == tmp_path


def test_a_folder_that_holds_files_is_refused(tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "old.dcm").write_text("x")
    with pytest.raises(InputError, match="already holds files"), atomic_folder(tmp_path / "series"):
        pass


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "series").mkdir()
    with atomic_folder(tmp_path / "series") as temporary:
        (temporary / "1.dcm").write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["series"]
    assert (tmp_path / "series" / "1.dcm").exists()


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "series") as temporary:
        (temporary / "1.dcm").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"), atomic_file(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"), atomic_file(tmp_path / "file" / "a.txt"):
        pass


def test_a_file_open_in_another_program_is_called_so():
    error = OSError(13, "sharing violation")
    error.winerror = 32  # what Windows says; elsewhere the attribute does not exist
    assert "open in another program" in str(unwritable("a.nii.gz", error))


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no space is left"), (errno.EDQUOT, "quota")])
@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_a_disk_that_fills_up_while_writing_is_named_to_the_user(tmp_path, make, number, words):
    with pytest.raises(InputError, match=f"{words}.*heart"), make(tmp_path / "heart"):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_a_disk_that_tells_only_at_the_end_that_it_is_full_is_named_to_the_user(tmp_path, make, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("CMRSimExtension.files.atomic.os.fsync", full)
    with pytest.raises(InputError, match="no space is left.*heart"), make(tmp_path / "heart") as temporary:
        (temporary / "1.dcm" if temporary.is_dir() else temporary).write_text("x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_other_errors_of_the_system_stay_what_they_are(tmp_path, make):
    with pytest.raises(FileNotFoundError), make(tmp_path / "heart"):
        (tmp_path / "nowhere").read_text()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_write_leaves_the_target_untouched(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    script = textwrap.dedent("""
        import sys, time
        from CMRSimExtension.files.atomic import atomic_file
        with atomic_file(sys.argv[1]) as temporary:
            temporary.write_text("half")
            print("writing", flush=True)
            time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "a.txt")], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"writing"
    process.kill()  # no handler runs: the worst that can happen
    process.wait()
    process.stdout.close()
    assert (tmp_path / "a.txt").read_text() == "old"
