"""Whatever bytes a header holds, a reader gives an image or one of our errors, never somebody else's traceback."""

import contextlib
import io
import shutil
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CMRSimExtension.errors import CMRSimError
from CMRSimExtension.files.formats import read_content, write_content

HEADERS = 200
"""Fuzzed headers of each format."""
FUZZ = settings(
    max_examples=HEADERS, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def damages(header_bytes: int):  # type: ignore[no-untyped-def]
    """Some bytes of the header replaced, and perhaps the end cut off or a part repeated."""
    changes = st.lists(st.tuples(st.integers(0, header_bytes - 1), st.integers(0, 255)), min_size=1, max_size=12)
    return st.tuples(changes, st.one_of(st.none(), st.integers(0, header_bytes * 2)))


def damaged(content: bytes, damage) -> bytes:  # type: ignore[no-untyped-def]
    changes, cut = damage
    out = bytearray(content)
    for place, value in changes:
        out[place % len(out)] = value
    return bytes(out if cut is None else out[:cut])


def read_or_refuse(path) -> None:  # type: ignore[no-untyped-def]
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.suppress(CMRSimError):
            content = read_content(path)
            assert content.cine is None or content.cine.image.ndim == 4


@pytest.fixture(scope="module")
def originals(make_cine, tmp_path_factory):
    """One file of each format, written from a tiny cine."""
    folder = tmp_path_factory.mktemp("originals")
    from CMRSimExtension.files.formats import Content

    cine = make_cine(frames=2, slices=2, rows=24, columns=20)
    content = Content(cine.grid, cine)
    for name, kind in (("a.nii", "nifti"), ("a.seq.nrrd", "nrrd"), ("a.seg.nrrd", "seg-nrrd"), ("a.h5", "ismrmrd"),
                       ("a.dcm", "dicom-enhanced"), ("series", "dicom")):
        write_content(content, folder / name, kind, source=folder / "a")
    return folder


@given(damage=damages(352))
@FUZZ
def test_nifti_headers(originals, tmp_path, damage):
    (tmp_path / "x.nii").write_bytes(damaged((originals / "a.nii").read_bytes(), damage))
    read_or_refuse(tmp_path / "x.nii")


@given(damage=damages(700))
@FUZZ
def test_nrrd_headers(originals, tmp_path, damage):
    (tmp_path / "x.seq.nrrd").write_bytes(damaged((originals / "a.seq.nrrd").read_bytes(), damage))
    read_or_refuse(tmp_path / "x.seq.nrrd")


@given(damage=damages(2400))
@FUZZ
def test_segmentation_headers(originals, tmp_path, damage):
    source = next(originals.glob("*.seg.nrrd"))
    (tmp_path / "x.seg.nrrd").write_bytes(damaged(source.read_bytes(), damage))
    read_or_refuse(tmp_path / "x.seg.nrrd")


@given(damage=damages(1900))
@FUZZ
def test_classic_dicom_headers(originals, tmp_path, damage):
    folder = tmp_path / "series"
    if not folder.exists():
        folder.mkdir()
        for path in (originals / "series").glob("*.dcm"):
            shutil.copy(path, folder)
    (folder / "slice01_frame002.dcm").write_bytes(
        damaged((originals / "series" / "slice01_frame002.dcm").read_bytes(), damage))
    read_or_refuse(folder)


@given(damage=damages(6000))
@FUZZ
def test_enhanced_dicom_headers(originals, tmp_path, damage):
    (tmp_path / "x.dcm").write_bytes(damaged((originals / "a.dcm").read_bytes(), damage))
    read_or_refuse(tmp_path / "x.dcm")


@given(damage=damages(9000))
@FUZZ
def test_ismrmrd_headers(originals, tmp_path, damage):
    (tmp_path / "x.h5").write_bytes(damaged((originals / "a.h5").read_bytes(), damage))
    read_or_refuse(tmp_path / "x.h5")


@given(text=st.text(max_size=60), key=st.sampled_from(["geometry", "times_ms", "heartbeats_ms", "function", "record",
                                                       "stored_values", "format_version", "files"]))
@FUZZ
def test_sidecars(originals, tmp_path, text, key):
    import json

    document = json.loads((originals / "a.json").read_text(encoding="utf-8"))
    document[key] = text
    (tmp_path / "x.nii").write_bytes((originals / "a.nii").read_bytes())
    (tmp_path / "x.json").write_text(json.dumps(document), encoding="utf-8")
    read_or_refuse(tmp_path / "x.nii")
