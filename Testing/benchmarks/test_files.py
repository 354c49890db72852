"""What reading and writing a 256 x 256 x 10 x 25 cine with labels costs in each format."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CMRSimExtension.files.formats import Content, format_of, read_content, write_content


@pytest.fixture(scope="module")
def content(make_cine):
    small = make_cine(frames=25, slices=10, rows=256, columns=256)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 8, small.image.shape).astype(np.float32)
    image = np.round(np.abs(small.image + noise))
    cine = replace(small, image=image, anatomy=None, fractions=None, displacement_mm=None)
    return Content(cine.grid, cine)


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nii", "x.seq.nrrd", "x.h5", "x.dcm"])
def test_write_and_read(benchmark, content, tmp_path, name):
    def there_and_back():
        write_content(content, tmp_path / name, format_of(Path(name)), source=Path("x"))
        return read_content(tmp_path / name)

    read = benchmark.pedantic(there_and_back, rounds=2)
    np.testing.assert_array_equal(read.cine.image, content.cine.image)


def test_write_a_classic_dicom_series(benchmark, content, tmp_path):
    counter = iter(range(10))

    def write():
        write_content(content, tmp_path / f"series{next(counter)}", "dicom", source=Path("x"))

    benchmark.pedantic(write, rounds=1)
