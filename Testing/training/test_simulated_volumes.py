"""Simulated volumes that whole-stack networks learn from: the two phases that readers label."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.training import simulated_volumes

SIZE = {"slices": 2, "rows": 32, "columns": 32, "pixel_mm": 8.0, "sub_samples": 1}


@pytest.mark.parametrize(("seed", "count"), [(2, 1), (2, 2), (5, 2)])
def test_the_volumes_are_end_diastole_and_the_subject_s_own_end_systole_and_nothing_else_is_scanned(
    seed, count, monkeypatch
):
    scans, simulate = [], simulated_volumes.simulate
    monkeypatch.setattr(
        simulated_volumes, "simulate", lambda *values, **more: scans.append(simulate(*values, **more)) or scans[-1]
    )
    images, labels, records = simulated_volumes.draw_volumes(np.random.SeedSequence(seed), count, **SIZE)
    subject = Subject.random(np.random.SeedSequence(seed).spawn(2)[0], pathology=None)
    wanted = [0.0, subject.heart.timing.end_systole][:count]
    assert len(images) == len(labels) == len(scans[0].image) == count
    assert np.allclose(scans[0].times_ms / scans[0].heartbeats_ms[:, None], wanted)
    assert [record["phase"] for record in records] == wanted
