"""What all tests share: where real data lies, and that benchmarks run only when asked for."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks out unless the command line names them: they measure minutes of work, and prove nothing."""
    if collection_path.name != "benchmarks":
        return None
    asked_for = any("benchmarks" in str(argument) for argument in config.args)
    return None if asked_for else True


@pytest.fixture(scope="session")
def cmrsim_data() -> Path:
    """Folder with real images: `CMRSIM_DATA`, or ../shared/data; the test is skipped where there is none."""
    folder = Path(os.environ.get("CMRSIM_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs real images: set CMRSIM_DATA to their folder")
    return folder


def beating_disc(frames: int = 6, slices: int = 3, rows: int = 40, columns: int = 48):  # type: ignore[no-untyped-def]
    """A small oblique cine of a ring that thickens as it contracts, beside a crescent; every truth filled."""
    import numpy as np

    from CMRSimExtension.anatomy.function import CardiacFunction
    from CMRSimExtension.scanner.geometry import ImageGrid
    from CMRSimExtension.simulation.cine import Cine

    turn = np.array([[0.80, -0.36, 0.48], [0.60, 0.48, -0.64], [0.0, 0.80, 0.60]])  # orthonormal
    affine = np.eye(4)
    # Columns run to the patient's left, rows to the feet, as they come from a scanner; slices 9.6 mm apart, 8 mm thick.
    affine[:3, :3] = (turn @ np.diag([-1.4, -1.4, 9.6]))
    affine[:3, 3] = (12.25, -31.5, 77.125)
    grid = ImageGrid(affine, (slices, rows, columns), 8.0)
    y, x = np.mgrid[:rows, :columns]
    radius = np.hypot(x - 0.55 * columns, y - 0.5 * rows)
    labels = np.zeros((frames, slices, rows, columns), np.uint8)
    motion = np.zeros((*labels.shape, 3), np.float32)
    for t in range(frames):
        squeeze = 1.0 - 0.3 * np.sin(np.pi * t / frames) ** 2
        inner, outer = 0.18 * rows * squeeze, np.sqrt((0.28 * rows) ** 2 - (0.18 * rows) ** 2 * (1 - squeeze**2))
        labels[t, :, (radius < outer + 5) & (radius >= outer) & (x < 0.45 * columns)] = 3
        labels[t, :, radius < outer] = 2
        labels[t, :, radius < inner] = 1
        motion[t, ..., 0] = (1 - squeeze) * (x - 0.55 * columns)
    rng = np.random.default_rng(0)
    image = np.array([60, 300, 120, 280], np.float32)[labels] + rng.normal(0, 8, labels.shape).astype(np.float32)
    heartbeats = 800.0 + 13.0 * np.arange(slices)
    return Cine(
        image=np.abs(image).astype(np.float32), grid=grid, labels=labels, anatomy=labels.copy(), displacement_mm=motion,
        fractions=np.stack([labels == n for n in range(4)]).astype(np.float32),
        times_ms=heartbeats[:, None] * np.arange(frames) / frames, heartbeats_ms=heartbeats,
        function=CardiacFunction(140.0, 55.0, 110.0, 150.0, 65.0),
        sidecar={"seed": 3, "drawn": {"flip_angle_deg": 50.5}},
    )


@pytest.fixture
def small_cine():  # type: ignore[no-untyped-def]
    return beating_disc()


@pytest.fixture(scope="session")
def make_cine():  # type: ignore[no-untyped-def]
    """The function that makes `small_cine`, for other sizes."""
    return beating_disc


@pytest.fixture(scope="session")
def cylinder():  # type: ignore[no-untyped-def]
    """The phantom of the tagging and strain tests, whose motion is known in closed form: its class."""
    from Testing.tagging.beating_cylinder import BeatingCylinder

    return BeatingCylinder


@pytest.fixture(scope="session")
def beating(cylinder):  # type: ignore[no-untyped-def]
    """A small cine of it with truth, shared by tests that only read it."""
    return cylinder().cine()
