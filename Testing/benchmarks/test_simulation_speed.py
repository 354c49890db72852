"""How long a subject, a cine, a preview slice and training slices take."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.simulation.stream import draw_slices
from CMRSimExtension.slicer_bridge.previews import SUB_SAMPLES

FULL = Protocol(phases=25, slices=20, slice_thickness_mm=6.0, slice_gap_mm=0.0)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.random(1)


def test_subject(benchmark) -> None:  # type: ignore[no-untyped-def]
    benchmark.pedantic(Subject.random, (2,), rounds=5, warmup_rounds=1)


def test_full_cine_with_its_anatomy(benchmark, subject: Subject) -> None:  # type: ignore[no-untyped-def]
    """256 x 256 x 20 slices x 25 frames, labels included."""
    cine = benchmark.pedantic(simulate, (subject, FULL, 3), rounds=1)
    assert cine.image.shape == (25, 20, 256, 256)


def test_magnitude_of_sampled_anatomy(benchmark) -> None:  # type: ignore[no-untyped-def]
    """The same cine once its objects are there: k-space, noise and magnitude."""
    objects = np.random.default_rng(0).random((25, 256, 256), dtype=np.float32).astype(np.complex64)
    acquisition = Acquisition(FULL, (256, 256))

    def all_slices() -> None:
        for index in range(20):
            acquisition.magnitude(objects, np.random.default_rng(index), 0.01)

    benchmark.pedantic(all_slices, rounds=1)


def test_preview_slice(benchmark, subject: Subject) -> None:  # type: ignore[no-untyped-def]
    """With as many points a voxel as the live preview of the panel takes."""
    protocol = FULL.replace(slices=1, phases=1)
    grid = plan(subject.heart_frame, protocol, "sax", slices=1, centre_offset_mm=(0.0, 0.0, 35.0), base_margin_mm=0.0)
    options = {"grid": grid, "sub_samples": SUB_SAMPLES}
    benchmark.pedantic(simulate, (subject, protocol, 3), options, rounds=8, warmup_rounds=2)


def test_training_slices(benchmark) -> None:  # type: ignore[no-untyped-def]
    """24 slices of one subject, 128 x 128."""
    benchmark.pedantic(lambda: draw_slices(np.random.SeedSequence(5), 24), rounds=3, warmup_rounds=1)
