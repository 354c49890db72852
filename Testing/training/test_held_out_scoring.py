"""How a network is scored on files and on simulated images that were held out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from CMRSimExtension.segmentation import held_out as scoring
from CMRSimExtension.segmentation.bundle import read_bundle
from CMRSimExtension.segmentation.held_out import score_source
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.segmentation.registry import find_model
from CMRSimExtension.training.configuration import read_configuration
from CMRSimExtension.training.held_out import HeldOutSource, held_out_images
from CMRSimExtension.training.labelled_folder import LabelledFolder
from CMRSimExtension.training.simulated_source import SimulatedSource, chunks
from Testing.segmentation.conftest import Oracle, heart_labels, picture
from Testing.training.held_out_hearts import DRAW, SPACING, TOY, rows_of, run, write_heart

pytestmark = pytest.mark.usefixtures("one_thread")


def test_simulated_images_to_test_on_are_nobody_elses_and_the_same_for_every_run():
    source = SimulatedSource(**DRAW)
    images, labels, spacing = held_out_images(source, 0, 6)
    again = held_out_images(source, 0, 6, workers=1)[0]
    assert images.shape == (6, 1, 32, 32) and labels.shape == (6, 32, 32) and bool(spacing.isnan().all())
    assert torch.equal(images, again)
    streams = [supply for key in ((1, 0), (2,)) for supply in [chunks(source, 0, key)]]
    learnt = torch.cat([next(supply)[0] for supply in streams for _ in range(5)])
    assert not any(torch.equal(one, other) for one in images for other in learnt)


@pytest.fixture
def oracle(monkeypatch):
    """Any run's network is one that cannot be wrong."""

    def put(classes=("lv_blood", "lv_myocardium", "rv_blood"), labels=None, keep=None):
        network = Oracle() if keep is None else Picks(keep)
        model = SegmentationModel(
            "oracle", network, classes, labels or {1: 1, 2: 2, 3: 3}, "zscore", pixel_mm=1.5, size=96
        )
        monkeypatch.setattr(scoring, "model_of_run", lambda folder: model)

    return put


class Picks(torch.nn.Module):
    """The oracle's background and one of its classes."""

    multiple = 16

    def __init__(self, keep):
        super().__init__()
        self.oracle, self.keep = Oracle(), keep

    def forward(self, images):
        logits = self.oracle(images)
        others = [number for number in range(4) if number != self.keep]
        return torch.stack([logits[:, others].logsumexp(1), logits[:, self.keep]], 1)


def test_a_right_network_gets_full_marks_on_the_grid_of_the_files(hearts, oracle):
    oracle()
    source = HeldOutSource(folder=LabelledFolder(str(hearts)))
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    whole = [row for row in scored.rows if row.position == "volume"]
    assert len(whole) == 9 and min(row.dice for row in whole) > 0.97
    # At most a pixel of 1.6 mm at a border.
    assert max(row.hd95_mm for row in whole) <= 1.6 and not scored.notes
    truth = heart_labels()
    (wall,) = [row for row in whole if (row.case, row.structure) == ("p1_ED", "lv_myocardium")]
    assert wall.reference_ml == pytest.approx((truth == 2).sum() * np.prod(SPACING) / 1000.0)


def test_structures_that_no_reference_shows_are_left_out_and_named(tmp_path, oracle):
    oracle()
    write_heart(tmp_path, "a", shown=(1, 2))
    source = HeldOutSource("two", folder=LabelledFolder(str(tmp_path)))
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert {row.structure for row in scored.rows} == {"lv_blood", "lv_myocardium"}
    assert any("no reference shows rv_blood" in note for note in scored.notes)


def test_a_network_of_one_class_is_scored_on_that_class(hearts, oracle):
    """P4: the myocardium alone, class 1 of the network and label 2 of files."""
    oracle(("lv_myocardium",), {1: 2}, keep=2)
    configuration = read_configuration(TOY | {"classes": ["lv_myocardium"], "merge": {2: 1}})
    source = HeldOutSource(folder=LabelledFolder(str(hearts), only=("p1_ED",)))
    scored = score_source(Path(), configuration, source, lambda line: None, device="cpu")
    whole = [row for row in scored.rows if row.position == "volume"]
    assert [row.structure for row in whole] == ["lv_myocardium"] and whole[0].reference_ml > 10.0


def test_a_network_of_volumes_is_scored_on_files_and_on_simulated_volumes(hearts, tmp_path):
    """P2: files are segmented at the network's own slice distance and come back on their grid."""
    volumes = {"draw": "Testing.training.toy_slices:draw_volumes", "chunk": 2}
    table = TOY | {
        "train": [{"simulated": volumes, "window": 8}],
        "network": {"name": "paper_unet_3d", "settings": {"width": 4}},
        "loss": {"name": "focal_tversky"},
        "test": [{"folder": {"folder": str(hearts), "only": ["p2"]}}, {"simulated": volumes, "count": 2}],
    }
    run(table, tmp_path)
    slices = rows_of(tmp_path / "test_hearts.csv")
    assert {row["position"] for row in slices} == {"volume", "basal", "mid", "apical"}
    truth = (heart_labels(scale=1.05) == 1).sum() * np.prod(SPACING) / 1000.0
    (pool,) = [row for row in slices if (row["position"], row["structure"]) == ("volume", "lv_blood")]
    assert float(pool["reference_ml"]) == pytest.approx(truth)
    cases = {row["case"] for row in rows_of(tmp_path / "test_simulated.csv")}
    assert cases == {"simulated_0000", "simulated_0001"}


def test_voxel_sizes_that_are_not_to_be_believed_give_no_distances(hearts, oracle):
    oracle()
    source = HeldOutSource(folder=LabelledFolder(str(hearts)), spacing="ignore")
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert all(np.isnan(row.hd95_mm) for row in scored.rows)
    assert any("no distances for 3 of 3 cases" in note for note in scored.notes)


def draw_with_pixels(seed_sequence, count):
    """Slices that the oracle reads, with pixels of 2 mm."""
    labels = np.stack([heart_labels((1, 96, 96), (8.0, 1.5, 1.5))[0]] * count)
    return picture(labels), labels, [{"pixel_mm": 2.0}] * count


def test_simulated_slices_are_measured_in_their_own_pixels(oracle, monkeypatch):
    oracle()
    source = HeldOutSource(simulated=SimulatedSource(f"{__name__}:draw_with_pixels", chunk=2), count=3)
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert {row.position for row in scored.rows} == {"volume"} and {row.hd95_mm for row in scored.rows} == {0.0}
    assert all(np.isnan(row.reference_ml) for row in scored.rows)  # one slice has no volume
    moved = type("Moved", (Oracle,), {"forward": lambda self, images: Oracle.forward(self, images).roll(1, 3)})
    model = SegmentationModel("moved", moved(), normalisation="zscore", pixel_mm=1.5, size=96)
    monkeypatch.setattr(scoring, "model_of_run", lambda folder: model)
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert {row.hd_mm for row in scored.rows} == {2.0}


def test_real_volumes_are_scored_as_users_segment_them(cmrsim_data, tmp_path, monkeypatch):
    if not (cmrsim_data / "acdc").is_dir():
        pytest.skip(f"needs ACDC: {cmrsim_data / 'acdc'} is not there")
    shutil.copytree(find_model("cine_sax"), tmp_path / "bundle")
    monkeypatch.setattr(scoring, "model_of_run", lambda folder: read_bundle(tmp_path / "bundle"))
    folder = LabelledFolder(str(cmrsim_data / "acdc"), "acdc", only=("patient001_frame01",))
    scored = score_source(Path(), read_configuration(TOY), HeldOutSource(folder=folder), print, device="cpu")
    pools = [row for row in scored.rows if (row.position, row.structure) == ("volume", "lv_blood")]
    assert len(pools) == 1 and pools[0].dice > 0.85 and pools[0].hd95_mm < 20.0
