"""The picture of agreement: what stands in it, and that nothing is drawn of nothing."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.agreement import bland_altman
from CMRSimExtension.evaluation.agreement_figure import named, write_agreement_figure


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    from matplotlib.figure import Figure

    kept = []
    save = Figure.savefig

    def keep(self, *arguments, **options):
        kept.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def test_each_quantity_has_a_panel_with_its_points_bias_limits_and_units(tmp_path, drawn):
    edv = bland_altman([100.0, 150.0, 210.0], [110.0, 140.0, 200.0])
    found = {"lv_edv_ml": edv, "lv_ef_percent": bland_altman([50.0, 60.0], [55.0, 58.0])}
    write_agreement_figure(tmp_path / "a.png", found, "acdc")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    first, second = drawn[0].axes
    points = first.lines[0].get_xydata()
    np.testing.assert_allclose(points, np.transpose([edv.means, edv.differences]))
    heights = [line.get_ydata()[0] for line in first.lines[1:4]]
    assert heights == pytest.approx([edv.bias, edv.upper, edv.lower])
    said = [text.get_text() for text in first.texts]
    assert said == [f"bias\n{edv.bias:.2f}", f"+1.96 SD\n{edv.upper:.2f}", f"-1.96 SD\n{edv.lower:.2f}"]
    assert first.get_title() == "LV EDV, n = 3" and first.get_ylabel() == "predicted - reference, ml"
    assert first.get_xlabel().endswith("ml") and second.get_ylabel().endswith("%")


def test_values_that_agree_exactly_have_one_line(tmp_path, drawn):
    write_agreement_figure(tmp_path / "a.png", {"lv_mass_g": bland_altman([90.0, 80.0], [90.0, 80.0])})
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["bias and limits\n0.00"]


def test_nothing_measured_twice_is_no_picture(tmp_path):
    with pytest.raises(InputError, match="compare more cases"):
        write_agreement_figure(tmp_path / "a.png", {})
    assert not list(tmp_path.iterdir())


def test_a_quantity_without_unit_is_refused():
    with pytest.raises(InputError, match="unit"):
        named("heart")
