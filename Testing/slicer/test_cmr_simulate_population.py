"""CMRSimulate's population: written in the background, stopped, gone on with, and refused."""

import pytest

from Testing.slicer.conftest import CHILD_SECONDS, node_ids


@pytest.fixture
def panel(open_panel):
    return open_panel("CMRSimulate")


def population_values(panel, tmp_path) -> dict:
    parameters = panel.logic.getParameterNode()
    parameters.matrixSize, parameters.slices, parameters.phases = 64, 1, 1
    parameters.populationFolder, parameters.populationCount = tmp_path, 2
    return panel.logic.populationTask(parameters).values


def test_a_folder_that_was_not_chosen_is_not_shown_as_one(panel, tmp_path):
    assert panel.ui.populationFolderButton.text == "Choose a folder…"
    with pytest.raises(ValueError, match="no folder is chosen"):
        panel.logic.populationTask(panel.logic.getParameterNode())
    panel.logic.getParameterNode().populationFolder = tmp_path
    assert panel.ui.populationFolderButton.text == str(tmp_path)


def test_a_population_is_written_in_the_background(panel, host, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    population_values(panel, tmp_path)
    panel.ui.populationButton.click()
    assert panel.ui.populationButton.text == "Cancel"
    assert host.run_until(lambda: not panel.populationJob.running, CHILD_SECONDS)
    assert panel.ui.populationStatusLabel.text == "2 subjects written, 0 were there already."
    assert (tmp_path / "subject_00001_labels.nii.gz").is_file()


def test_a_population_can_be_cancelled_and_leaves_whole_subjects(panel, host, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    before = node_ids()
    population_values(panel, tmp_path)
    panel.logic.getParameterNode().populationCount = 50
    panel.ui.populationButton.click()
    assert not panel.ui.applyButton.enabled  # one task at a time
    assert host.run_until(lambda: (tmp_path / "subject_00001.json").is_file(), CHILD_SECONDS)
    assert host.run_until(lambda: panel.ui.populationProgressBar.value > 0, CHILD_SECONDS)
    assert panel.ui.populationProgressBar.value < panel.ui.populationProgressBar.maximum
    panel.ui.populationButton.click()
    assert panel.ui.populationButton.text == "Write population" and panel.ui.applyButton.enabled
    assert node_ids() == before
    sidecars = {path.name.removesuffix(".json") for path in tmp_path.glob("subject_*.json")}
    images = {path.name.removesuffix(".nii.gz") for path in tmp_path.glob("subject_?????.nii.gz")}
    assert sidecars and sidecars <= images


def test_a_population_that_was_stopped_goes_on(panel, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    from CMRSimExtension.slicer_bridge import jobs

    values = population_values(panel, tmp_path)
    (tmp_path / "subject_00000.json").write_text("{}", encoding="utf-8")  # as if made before
    assert jobs.run("population", values, lambda share, text: None) == {"written": 1, "skipped": 1}


def test_a_folder_of_another_population_is_left_alone(panel, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    from CMRSimExtension.population.writing import RECORD
    from CMRSimExtension.slicer_bridge import jobs

    values = population_values(panel, tmp_path)
    (tmp_path / RECORD).write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="holds a population of another protocol"):
        jobs.run("population", values, lambda share, text: None)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_population_goes_to_a_folder_that_exists(panel, tmp_path, slot_errors):
    panel.logic.getParameterNode().populationFolder = tmp_path / "none"
    panel.ui.populationButton.click()
    assert "choose one to write the population to" in str(slot_errors[0])
