"""XCAT's motion vectors: read as mode 4 writes them, and followed by labels, rest positions and strain."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Moment
from CMRSimExtension.anatomy.xcat import XcatAnatomy
from CMRSimExtension.anatomy.xcat_files import read_xcat
from CMRSimExtension.anatomy.xcat_vectors import (
    XCAT_MOTION,
    filled_gaps,
    read_vectors,
    vector_files,
    vector_motion,
    vectors_beside,
)
from CMRSimExtension.command_line.anatomy_files import anatomy_from_file
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.frame_times import frame_times
from CMRSimExtension.tagging.simulated import motion_source, true_displacement
from Testing.anatomy.xcat_phantom import SIZE, SLICES, voxels, write

SHAPE = (SLICES, SIZE, SIZE)
SPACING = np.array([2.0, 2.0, 5.0])
CENTRE = np.array([50.25, 47.25, 8.0])
"""Column, row and slice of the phantom's long axis, half way along."""
HEARTS = ("0.000", "0.400", "0.700")
EXHALED = (("0.000", "full exhalation"),) * 3


def carried(at: np.ndarray, amount: float) -> np.ndarray:
    """Where a contraction with torsion and descent, smooth and gone at the body's edge, takes (n, 3) voxels."""
    mm = (at - CENTRE) * SPACING
    near = np.exp(-np.sum((mm / [36.0, 36.0, 60.0]) ** 2, axis=1))
    angle, shrunk = 0.15 * amount * near, 1.0 - 0.3 * amount * near
    x = shrunk * (np.cos(angle) * mm[:, 0] - np.sin(angle) * mm[:, 1])
    y = shrunk * (np.sin(angle) * mm[:, 0] + np.cos(angle) * mm[:, 1])
    return np.stack([x, y, mm[:, 2] + 6.0 * amount * near], axis=1) / SPACING + CENTRE


def first_place(at: np.ndarray, amount: float) -> np.ndarray:
    """The inverse of `carried`, to 1e-4 of a voxel."""
    out = at.astype(float)
    for _ in range(25):
        out += at - carried(out, amount)
    return out


def grid() -> np.ndarray:
    k, j, i = np.indices(SHAPE).reshape(3, -1)
    return np.stack([i, j, k], axis=1)


def write_vectors(path: Path, frame: int, at: np.ndarray, place: np.ndarray) -> Path:
    names = np.where(at.sum(axis=1) % 3 == 0, "known_vector_dias_lv", "interpolated_vector")
    lines = [
        f"{n} frame1 {a[0]} {a[1]} {a[2]}  frame{frame} {p[0]:.6f} {p[1]:.6f} {p[2]:.6f}\n"
        for n, a, p in zip(names, at.tolist(), place.tolist(), strict=True)
    ]
    path.write_text(f"\nSurface Vectors From Frame 1 to Frame {frame}\n" + "".join(lines))
    return path


def write_moving(folder: Path, amounts: tuple[float, ...] = (1.0, 0.4)) -> Path:
    """A beating series and its vectors; voxels that move by less than 0.001 have no line."""
    log = write(folder, frames=len(amounts) + 1, hearts=HEARTS, breaths=EXHALED)
    voxel, still = grid(), voxels()
    for frame, amount in enumerate(amounts, 2):
        was = np.clip(np.rint(first_place(voxel, amount)).astype(int), 0, np.array(SHAPE[::-1]) - 1)
        still[was[:, 2], was[:, 1], was[:, 0]].reshape(SHAPE).tofile(folder / f"sub_act_{frame}.bin")
        place = carried(voxel, amount)
        moves = np.abs(place - voxel).max(axis=1) > 1e-3
        write_vectors(folder / f"sub_vec_frame1_to_frame{frame}.txt", frame, voxel[moves], place[moves])
    return log


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return write_moving(tmp_path_factory.mktemp("vectors"))


@pytest.fixture(scope="module")
def anatomy(log) -> XcatAnatomy:
    return XcatAnatomy(log, vectors=log.parent / "sub_vec_frame1_to_frame2.txt")


@pytest.fixture
def folder(log, tmp_path) -> Path:
    """A copy of the run, to be spoiled."""
    for path in log.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def to_ras(anatomy: XcatAnatomy, at: np.ndarray) -> np.ndarray:
    affine = anatomy.placement.affine_ras
    return at @ affine[:3, :3].T + affine[:3, 3]


def wall() -> np.ndarray:
    """Voxels of the LV wall, contracted, off the voxels' centres."""
    k, j, i = np.nonzero(voxels() == 1)
    inside = (k > 3) & (k < 14)
    return carried(np.stack([i, j, k], axis=1)[inside][::7] + 0.3, 1.0)


def test_a_file_is_read_back(tmp_path):
    at = np.array([[4, 7, 2], [5, 7, 3]])
    path = write_vectors(tmp_path / "a_vec_frame1_to_frame3.txt", 3, at, at + [0.25, -1.5, 2.0])
    moved, listed = read_vectors(path, 3, SHAPE)
    np.testing.assert_allclose(moved[2, 7, 4], [0.25, -1.5, 2.0], atol=1e-6)
    assert listed[3, 7, 5] == 2 and listed[2, 7, 4] == 1 and np.count_nonzero(listed) == 2


def test_only_the_box_is_kept(tmp_path):
    at = np.array([[4, 7, 2], [50, 60, 3]])
    path = write_vectors(tmp_path / "a_vec_frame1_to_frame3.txt", 3, at, at + 1.0)
    moved, listed = read_vectors(path, 3, SHAPE, (slice(1, 4), slice(6, 9), slice(3, 6)))
    assert listed.shape == (3, 3, 3) and np.argwhere(listed).tolist() == [[1, 1, 1]] and moved[1, 1, 1, 0] == 1.0


def test_what_xcat_knows_stands_above_what_it_interpolates(tmp_path):
    path = tmp_path / "a_vec_frame1_to_frame2.txt"
    rows = ["known_vector frame1 1 1 1 frame2 2 1 1", "interpolated_vector frame1 1 1 1 frame2 9 1 1"]
    path.write_text("\nVectors From Frame 1 to Frame 2\n" + "\n".join(rows))
    assert read_vectors(path, 2, SHAPE)[0][1, 1, 1, 0] == 1.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("known_vector frame1 1 1 frame2 1 1 1", "line 4 is 'known_vector frame1 1 1 frame2"),
        ("known_vector frame1 1 1 1 frame2 1 x 1", "line 4"),
        ("known_vector frame1 1 1 1 frame2 1 nan 1", "line 4"),
        ("known_vector frame1 1.5 1 1 frame2 1 1 1", "line 4"),
        ("known_vector frame1 1 -1 1 frame2 1 1 1", "line 4"),
        ("known_vector frame1 1 1 1 frame3 1 1 1", "line 4"),
        ("surface frame1 1 1 1 frame2 1 1 1", "line 4"),
        ("known_vector frame1 1 1 18 frame2 1 1 1", "line 4 tells of voxel 1, 1, 18, but the phantom has 96 x 96 x 18"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    path = tmp_path / "a_vec_frame1_to_frame2.txt"
    sound = "known_vector frame1 1 1 1 frame2 1 1 1\n"
    path.write_text(f"\nSurface Vectors From Frame 1 to Frame 2\n{sound}{line}\n{sound}")
    with pytest.raises(FileFormatError, match=message):
        read_vectors(path, 2, SHAPE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "none of XCAT's"),
        ("\nSurface Vectors From Frame 1 to Frame 3\n", "to frame 3, not 2"),
        ("\nSurface Vectors From Frame 1 to Frame 2\n", "cut off"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "a_vec_frame1_to_frame2.txt"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_vectors(path, 2, SHAPE)


def test_the_files_of_a_run_are_found_from_one_of_them(tmp_path):
    for name in ("a_vec_frame1_to_frame2.txt", "a_vec_frame1_frame3.txt", "b_vec_frame1_to_frame2.txt"):
        (tmp_path / name).touch()
    assert sorted(vector_files(tmp_path / "a_vec_frame1_to_frame2.txt")) == [2, 3]
    with pytest.raises(FileFormatError, match="several runs"):
        vector_files(tmp_path)


def test_gaps_are_filled_without_bumps():
    k, j, i = np.indices((9, 20, 22)).astype(np.float32)
    linear = np.stack([0.1 * i, 0.2 * j - 0.1 * k, 0.3 * k], axis=-1)
    gaps = np.zeros(linear.shape[:3], dtype=bool)
    gaps[3:6, 6:13, 5:15] = True
    filled = filled_gaps(np.where(gaps[..., None], 0, linear), gaps, SPACING)
    np.testing.assert_array_equal(filled[~gaps], linear[~gaps])
    # A linear field is harmonic: what is left is what the sweeps have not yet smoothed, of a range of 2 to 4.
    assert np.abs(filled - linear)[gaps].max() < 0.05


def test_the_dense_displacement_is_that_of_the_files(anatomy, log):
    box = (slice(4, 14), slice(30, 66), slice(32, 70))
    everything = np.ones(SHAPE, dtype=bool)
    motion = vector_motion(vector_files(log.parent), (1, 2, 3), anatomy.placement.affine_ras, everything, box)
    assert motion.displacement_mm.shape == (3, 10, 36, 38, 3) and not motion.displacement_mm[0].any()
    at = grid().reshape(*SHAPE, 3)[box].reshape(-1, 3)
    for frame, amount in ((1, 1.0), (2, 0.4)):
        wanted = to_ras(anatomy, carried(at, amount)) - to_ras(anatomy, at)
        np.testing.assert_allclose(motion.displacement_mm[frame].reshape(-1, 3), wanted, atol=1e-4)
    assert motion.known_share == pytest.approx(1 / 3, abs=0.01) and motion.filled_share == 0.0


@pytest.mark.parametrize(("phase", "amount"), [(0.0, 0.0), (0.4, 1.0), (0.7, 0.4)])
def test_tissue_comes_from_where_the_contraction_took_it(anatomy, phase, amount):
    at = wall()
    rest = anatomy.sample(to_ras(anatomy, at), Moment(phase)).rest_mm
    # Trilinear between voxels of 2 x 2 x 5 mm: 1/8 of step squared times curvature (0.004 per mm).
    assert np.linalg.norm(rest - to_ras(anatomy, first_place(at, amount)), axis=1).max() < 0.1


def test_strain_is_that_of_the_contraction(anatomy):
    at = wall()

    def gradient(first) -> np.ndarray:
        columns = []
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = 1.0
            columns.append((first(at + step) - first(at - step)) / (2 * SPACING[axis]))
        return np.stack(columns, axis=-1)

    wanted = gradient(lambda p: to_ras(anatomy, first_place(p, 1.0)))
    found = gradient(lambda p: anatomy.sample(to_ras(anatomy, p), Moment(0.4)).rest_mm)
    strains = [0.5 * (np.eye(3) - np.einsum("nij,nik->njk", f, f)) for f in (wanted, found)]
    # Positions err by up to 0.04 mm, smoothly, over the 4 to 10 mm of the difference.
    assert np.abs(strains[0]).max() > 0.25
    assert np.sqrt(np.mean((strains[1] - strains[0]) ** 2)) < 0.005


def test_labels_follow_the_vectors(anatomy):
    centres = to_ras(anatomy, grid())
    stored = np.fromfile(anatomy._frames[1].path, "<f4")
    found = anatomy.sample(centres, Moment(0.4), rest=False).clinical
    for label, value in ((1, 5.0), (2, 1.0)):
        both = np.count_nonzero((found == label) & (stored == value))
        # Half a voxel of smoothing on both sides; unmoved, pool and wall agree by 0.78 and 0.64.
        assert 2 * both / (np.count_nonzero(found == label) + np.count_nonzero(stored == value)) > 0.9


def test_function_is_that_of_the_vectors(anatomy):
    pools = [np.count_nonzero(np.fromfile(f.path, "<f4") == 5) for f in anatomy._frames]
    assert anatomy.function.lv_ef_percent == pytest.approx(100 * (1 - min(pools) / max(pools)), abs=1.5)


def test_blood_moves_with_the_wall_beside_it(anatomy):
    k, j, i = np.nonzero(voxels() == 5)
    at = to_ras(anatomy, np.stack([i, j, k], axis=1)[::5].astype(float))
    velocity = anatomy.blood_velocity(at, Moment(0.2))
    assert np.all(np.isfinite(velocity)) and 20.0 < np.linalg.norm(velocity, axis=1).max() < 2000.0


def test_nothing_moves_where_it_says_so(anatomy):
    at = to_ras(anatomy, grid()[::5])
    still = ~anatomy.may_move(at)
    rest = anatomy.sample(at[still], Moment(0.4)).rest_mm
    assert still.any() and np.abs(rest - at[still]).max() < 0.011


def test_the_sidecar_says_whose_motion_it_is(anatomy):
    record = anatomy.describe()
    assert record["motion"] == XCAT_MOTION and "estimated" not in record["motion"]
    assert record["vectors"]["files"] == ["sub_vec_frame1_to_frame2.txt", "sub_vec_frame1_to_frame3.txt"]
    assert record["vectors"]["shares"]["without_inverse"] == 0.0


def test_true_motion_of_a_cine_is_the_vectors(anatomy):
    affine = np.eye(4)
    affine[:3, :3] = anatomy.placement.affine_ras[:3, :3]
    affine[:3, 3] = to_ras(anatomy, np.array([[62.0, 44.0, 7.0]]))[0]
    grid_of_cine = ImageGrid(affine, (2, 8, 8), 5.0)
    times = np.array([[0.0, 360.0], [0.0, 360.0]])  # 0 and 0.4 of the log's 900 ms.
    sidecar = {"anatomy": anatomy.describe(), "timing": {"cycle_ms": [900.0, 900.0]}}
    cine = Cine(np.zeros((2, 2, 8, 8), np.float32), grid_of_cine, times_ms=times, sidecar=sidecar)
    phase = float(frame_times(cine).times_ms[0, 1] / frame_times(cine).cycle_ms[0])
    at = grid_of_cine.points_mm()[0].reshape(-1, 3)
    wanted = anatomy.sample(at, Moment(phase)).rest_mm - at
    np.testing.assert_allclose(true_displacement(anatomy, cine)[1, 0].reshape(-1, 3), wanted, atol=1e-3)
    assert np.abs(wanted).max() > 2.0
    assert motion_source(cine) == "true"


def test_vectors_beside_the_frames_are_found_by_their_name(folder):
    assert sorted(vectors_beside(read_xcat(folder / "sub_log"))) == [2, 3]
    for frame in (2, 3):
        (folder / f"sub_vec_frame1_to_frame{frame}.txt").rename(folder / f"other_vec_frame1_to_frame{frame}.txt")
    assert vectors_beside(read_xcat(folder / "sub_log")) == {}


def test_vectors_for_a_label_image_are_refused(tmp_path):
    (tmp_path / "gt.nii.gz").touch()
    with pytest.raises(InputError, match="--xcat-vectors move XCAT's frames, and gt.nii.gz is none"):
        anatomy_from_file(tmp_path / "gt.nii.gz", None, False, 0, tmp_path)


def test_a_missing_frame_is_named(folder):
    (folder / "sub_vec_frame1_to_frame3.txt").unlink()
    with pytest.raises(FileFormatError, match=r"no motion vectors to frame 3 \(<name>_vec_frame1_to_frame3.txt"):
        XcatAnatomy(folder / "sub_log")


def test_vectors_of_another_run_are_refused(folder):
    voxel = grid()
    expanded = 2 * voxel - carried(voxel, 1.0)
    write_vectors(folder / "sub_vec_frame1_to_frame2.txt", 2, voxel, expanded)
    with pytest.raises(FileFormatError, match="belong to another run"):
        XcatAnatomy(folder / "sub_log")


def test_vectors_outside_the_heart_are_refused(folder):
    corner = np.array([[0, 0, 0]])
    write_vectors(folder / "sub_vec_frame1_to_frame2.txt", 2, corner, corner + 0.5)
    with pytest.raises(FileFormatError, match="no vector in the heart"):
        XcatAnatomy(folder / "sub_log")


def test_frames_that_breathe_as_they_beat_are_refused(folder):
    log = write(folder, frames=3, hearts=HEARTS)
    with pytest.raises(InputError, match="motion_option = 0"):
        XcatAnatomy(log)


def test_vectors_for_one_heart_phase_are_refused(log):
    with pytest.raises(InputError, match="shows one heart phase"):
        XcatAnatomy(log.parent / "sub_act_1.bin", vectors=log.parent)
