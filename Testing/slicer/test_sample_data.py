"""Samples are offered in Slicer's Sample Data module, made on first use, and can be cancelled."""

import sys
from pathlib import Path

import pytest
import slicer

from CMRSimExtension.slicer_bridge import sample_data
from Testing.slicer.conftest import node_ids
from Testing.slicer_host.sample_data_module import sample_data_module


@pytest.fixture
def offered(host, monkeypatch):
    """The entries, by name, after start-up."""
    monkeypatch.setitem(sys.modules, "SampleData", sample_data_module())
    host.load_module("CMRSimulate")
    slicer.app.complete_startup()
    return {entry.sampleName: entry for entry in slicer.modules.sampleDataSources["CMRSimExtension"]}


@pytest.fixture
def small(monkeypatch):
    """The sample as a tiny scan, of pixels that still show its tags."""
    from CMRSimExtension.scanner.protocol import Protocol

    request = sample_data.cine_request()
    request["protocol"] = Protocol.from_dict(request["protocol"]).replace(
        matrix=(108, 128), acquired_resolution_mm=(3.0, 3.0), slices=2, phases=2).as_dict()
    monkeypatch.setattr(sample_data, "cine_request", lambda: request)


@pytest.fixture
def dialogs(monkeypatch):
    """The progress dialogs that were opened, and for each what others were on show then."""
    opened = []
    create = slicer.util.createProgressDialog

    def note(**properties):
        on_show = [dialog for dialog, _ in opened if dialog.visible]
        opened.append((create(**properties), on_show))
        return opened[-1][0]

    monkeypatch.setattr(slicer.util, "createProgressDialog", note)
    return opened


def test_the_samples_are_offered_with_a_picture_each(offered):
    assert list(offered) == ["SimulatedCine", "SimulatedTaggedCine"]
    assert all(Path(entry.thumbnailFileName).is_file() for entry in offered.values())


def test_the_terminology_is_loaded_after_start_up_even_without_sample_data(host, monkeypatch):
    from CMRSimExtension.anatomy.terminology import CONTEXT_NAME

    monkeypatch.setitem(sys.modules, "SampleData", None)  # importing it fails
    host.load_module("CMRSimulate")
    with pytest.raises(ImportError):  # in Slicer each of the two is a slot of its own
        slicer.app.complete_startup()
    assert slicer.modules.terminologies.logic().IsTerminologyContextLoaded(CONTEXT_NAME)


def test_a_sample_is_made_once_and_then_kept(host, monkeypatch, small):
    node = sample_data.load_cine()
    assert node.GetName() == "SimulatedCine"

    def refuse(*arguments):
        raise AssertionError("the sample was made again")

    monkeypatch.setattr(sample_data, "ChildJob", refuse)
    assert sample_data.load_cine().GetImageData().GetDimensions() == node.GetImageData().GetDimensions()


def test_a_sample_that_needs_another_shows_one_dialog_after_the_other(host, small, dialogs):
    import qt

    assert sample_data.load_tagged().GetName() == "SimulatedTaggedCine"
    assert [dialog.labelText for dialog, _ in dialogs] == ["Making SimulatedCine", "Making SimulatedTaggedCine"]
    assert [on_show for _, on_show in dialogs] == [[], []]
    assert {dialog.windowModality for dialog, _ in dialogs} == {qt.Qt.ApplicationModal}


def test_a_sample_that_is_cancelled_adds_nothing_and_is_no_error(offered, small, monkeypatch):
    before, jobs = node_ids(), []
    create, start = slicer.util.createProgressDialog, sample_data.ChildJob

    def cancelled(**properties):
        dialog = create(**properties)
        dialog.cancel()
        return dialog

    def noted(*arguments):
        jobs.append(start(*arguments))
        return jobs[-1]

    monkeypatch.setattr(slicer.util, "createProgressDialog", cancelled)
    monkeypatch.setattr(sample_data, "ChildJob", noted)
    assert offered["SimulatedCine"].customDownloader(offered["SimulatedCine"]) is None
    assert node_ids() == before
    assert not (sample_data.cache_folder() / sample_data.CINE_NAME).exists()
    assert jobs[0].poll()


def test_a_child_that_breaks_its_report_is_ended(host, small, monkeypatch):
    """Whatever goes wrong while it is waited for, no process may go on alone."""
    jobs = []

    class Broken(sample_data.ChildJob):
        def poll(self) -> bool:
            jobs.append(self)
            raise RuntimeError("no report")

    monkeypatch.setattr(sample_data, "ChildJob", Broken)
    with pytest.raises(RuntimeError, match="no report"):
        sample_data.load_cine()
    assert jobs[0]._process.ended
