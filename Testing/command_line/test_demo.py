"""`cmrsim demo`: the page and what it shows."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from CMRSimExtension.command_line import demo
from CMRSimExtension.command_line.demo_page.charts import Series, line_chart, ticks
from CMRSimExtension.command_line.demo_page.page import Section, build_page
from CMRSimExtension.command_line.demo_page.sections import _size
from CMRSimExtension.command_line.demo_page.segments import bulls_eye
from CMRSimExtension.command_line.main import main

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(demo, "MATRIX", 112)  # pixels of 3.2 mm: tags need two to their 7 mm
    patch.setattr(demo, "PHASES", 8)
    path = tmp_path_factory.mktemp("demo") / "page"
    assert main(["demo", "--out", str(path), "--quiet"]) == 0
    patch.undo()
    return path


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links, self.sources, self.ids, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []
        if tag not in ("meta", "img", "input", "br", "line", "circle", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("line", "circle", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(folder):
    parser = _Page()
    parser.feed((folder / "index.html").read_text(encoding="utf-8"))
    assert parser.open == []  # every element is closed
    return parser


def test_the_page_needs_nothing_from_outside_its_folder(page, folder):
    assert all(source.startswith("data:image/") for source in page.sources)
    for link in page.links:
        assert link.removeprefix("#") in page.ids if link.startswith("#") else (folder / link).is_file(), link
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org)", text)


def test_the_page_has_what_the_design_asks_for(page):
    for words in (
        "The cine and its labels", "Volume", "Strain of the LV wall", "Segments", "Peak circumferential strain",
        "Segmented", "not for clinical use",
    ):
        assert words in page.text


def test_everything_it_shows_lies_in_the_folder(folder):
    assert {p.name for p in folder.iterdir()} == {
        "index.html", "cine.nii.gz", "cine_labels.nii.gz", "cine_motion.nii.gz", "cine.json", "cine.gif"}


def test_the_page_shows_what_the_network_finds(page):
    found, true = map(int, re.search(r"Ejection fraction of the LV: (\d+) % found, (\d+) % in", page.text).groups())
    assert abs(found - true) <= 15  # slices of 3.2 mm pixels, eight frames


def test_the_script_moves_no_chart_but_those_over_time(folder):
    script = (files("CMRSimExtension.command_line.demo_page") / "page.js").read_text(encoding="utf-8")
    wanted = re.search(r'querySelectorAll\("svg\.chart((?:\[[\w-]+\])*)"\)', script).group(1)
    charts = re.findall(r'<svg class="chart[^>]*>', (folder / "index.html").read_text(encoding="utf-8"))
    moved = [chart for chart in charts if all(f" {name}=" in chart for name in re.findall(r"[\w-]+", wanted))]
    assert 0 < len(moved) < len(charts) and all(' data-x="' in chart for chart in moved)


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
def test_the_cine_plays_in_a_browser(folder, tmp_path):
    def cursors(milliseconds):
        """Where each chart's cursor stands after a time, and where it stood at the start."""
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
             f"--user-data-dir={tmp_path}", f"--virtual-time-budget={milliseconds}", "--dump-dom",
             (folder / "index.html").as_uri()],
            capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
        assert "Uncaught" not in done.stderr
        charts = re.findall(r'<svg class="chart"[^>]*data-x="([^ "]+)(.+?)</svg>', done.stdout, re.DOTALL)
        return [(start, re.search(r'class="cursor"[^>]*x1="([^"]+)"', drawn)[1]) for start, drawn in charts]

    # A slow machine draws few frames in that time; and at any one moment the heartbeat may just begin anew.
    for milliseconds in (8000, 11000, 16000):
        charts = cursors(milliseconds)
        assert charts
        if all(start != now for start, now in charts):
            return
    pytest.fail(f"the cursors stay where they were: {charts}")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-20, 52), (0, 237.9), (3.1, 3.2), (5, 5), (0, 0), (-1e-9, 1e-9)])
def test_ticks_are_round_ascending_and_span_the_values(low, high):
    values = ticks(low, high)
    assert values[0] <= low + 1e-12 and values[-1] >= high - 1e-12
    assert np.all(np.diff(values) > 0) and len(values) <= 12


def test_a_chart_draws_each_value_at_its_height():
    svg = line_chart([0, 1, 2], [Series("a", [0.0, 5.0, 10.0], "red")], "x", "y", "title")
    heights = [float(v) for v in re.search(r'data-y="([^"]+)"', svg).group(1).split()]
    assert heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.1)
    assert heights[0] > heights[1] > heights[2]


def segment_texts(svg):
    """{text of a segment: (x, y) of its middle}."""
    found = re.findall(r'<text class="value" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]+)</text>', svg)
    return {text: (float(x), float(y)) for x, y, text in found}


def test_a_bull_s_eye_has_the_anterior_wall_on_top_and_the_septum_left():
    at = segment_texts(bulls_eye([float(number) for number in range(1, 18)], "Numbers", "mm"))
    assert len(at) == 17
    middle = at["17"][0]
    assert at["1"] == (pytest.approx(middle), min(y for _, y in at.values()))  # basal anterior
    assert at["4"] == (pytest.approx(middle), max(y for _, y in at.values()))  # basal inferior
    for septal in ("2", "3", "8", "9", "14"):
        assert at[septal][0] < middle
    for lateral in ("5", "6", "11", "12", "16"):
        assert at[lateral][0] > middle
    heights = [at[anterior][1] for anterior in ("1", "7", "13", "17")]
    assert heights == sorted(heights)  # from the base outside to the apex


def test_a_bull_s_eye_leaves_what_is_not_known_empty():
    svg = bulls_eye([5.0] * 16 + [float("nan")], "Thickness", "mm", (4.0, 14.0))
    assert len(segment_texts(svg)) == 1 and svg.count('class="value"') == 16
    assert "17 apex: not known" in svg and "1 basal anterior: 5.0 mm" in svg
    assert "4 mm" in svg and "14 mm" in svg


def test_a_bull_s_eye_of_nothing_is_refused():
    with pytest.raises(ValueError, match="16 values, 16 of them known"):
        bulls_eye([1.0] * 16, "Thickness", "mm")
    with pytest.raises(ValueError, match="0 of them known"):
        bulls_eye([float("nan")] * 17, "Thickness", "mm")


def test_text_of_a_section_cannot_break_the_page():
    page = build_page("a <b>", "c & d", [Section("e > f", "<p>g</p>", "h < i", {"j": "</script><script>bad()"})], "k")
    assert "</script><script>bad()" not in page
    assert "a &lt;b&gt;" in page and "h &lt; i" in page


@pytest.mark.parametrize(("count", "said"), [(500, "1 kB"), (26_160, "26 kB"), (2_243_894, "2.2 MB")])
def test_no_file_is_listed_as_nothing(count, said):
    assert _size(count) == said
