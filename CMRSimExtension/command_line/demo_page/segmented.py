"""The demo's segmentation: the shipped network on the cine, beside the truth that only a simulation knows."""

from dataclasses import replace

from CMRSimExtension.command_line.demo_page.charts import Series, line_chart
from CMRSimExtension.command_line.demo_page.page import Section
from CMRSimExtension.command_line.demo_page.sections import frame_times, strip, titled
from CMRSimExtension.simulation.cine import Cine

MODEL = "cine_sax"


def segmented_section(cine: Cine) -> Section:
    """Contours found at end diastole and end systole, the volume curve they give, and how well both agree.

    Where the packages of the extra ``segment`` are not installed the section says how to get them.
    """
    lead = (
        "What the shipped network finds in the image alone. It was trained on simulated images, none of this subject, "
        "and on no patient's."
    )
    try:
        from CMRSimExtension.evaluation.function import function_from_labels
        from CMRSimExtension.evaluation.overlap import compare
        from CMRSimExtension.segmentation.bundle import read_bundle
        from CMRSimExtension.segmentation.registry import find_model
        from CMRSimExtension.segmentation.segment import segment
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        text = f"<p>Not shown: the package {missing} is missing. <code>pip install '.[segment]'</code> brings it.</p>"
        return Section("Segmented", text, lead)
    assert cine.labels is not None
    found = segment(cine.image, cine.grid, read_bundle(find_model(MODEL)), views="none").labels
    dx, dy, dz = cine.grid.spacing_mm
    measured, true = (function_from_labels(labels, (dz, dy, dx)) for labels in (found, cine.labels))
    frames = [(true.end_diastole, "end diastole"), (true.end_systole or 0, "end systole")]
    rows = []
    for frame, name in frames:
        dice = {row.structure: row.dice for row in compare(
            found[frame], cine.labels[frame], (dz, dy, dx), distances=False, per_slice=False
        )}  # fmt: skip
        cells = "".join(f'<td class="number">{dice[key]:.2f}</td>' for key in ("lv_blood", "lv_myocardium", "rv_blood"))
        rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    table = (
        '<div class="scroll"><table><tr><th>Dice</th><th class="number">LV blood</th>'
        '<th class="number">LV myocardium</th><th class="number">RV blood</th></tr>' + "".join(rows) + "</table></div>"
    )
    times = frame_times(cine)
    charts = ""
    for name, colour, curve, reference in (
        ("LV", "red", measured.lv_ml, true.lv_ml),
        ("RV", "blue", measured.rv_ml, true.rv_ml),
    ):
        lines = [Series("found", list(curve), colour), Series("true labels", list(reference), "grey")]
        title = f"{name} volume found by the network, and that of the true labels"
        chart = line_chart(times, lines, "time after the R wave (ms)", "volume (ml)", title)
        charts += "<div>" + titled(chart, f"{name} volume") + "</div>"
    ejection = (
        f"<p>Ejection fraction of the LV: {measured.function.lv_ef_percent:.0f} % found, "
        f"{true.function.lv_ef_percent:.0f} % in the true labels.</p>"
    )
    html = strip(replace(cine, labels=found), frames) + table + f'<div class="charts">{charts}</div>'
    return Section("Segmented", html + ejection, lead)
