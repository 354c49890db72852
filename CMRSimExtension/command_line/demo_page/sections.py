"""The sections of the demo page. Later work adds its own beside them."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from CMRSimExtension.command_line.demo_page.charts import Series, line_chart
from CMRSimExtension.command_line.demo_page.page import Section
from CMRSimExtension.command_line.demo_page.viewer import data_uri, enlarged_frames
from CMRSimExtension.files.preview import heart_crop, heartbeat_ms, levels_of, picture
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.strain.series import COMPONENTS, StrainSeries


def function_cards(cine: Cine, subject: Any) -> str:
    """Cards with the subject and its true function."""
    body = subject.parameters.torso
    who = "woman" if body.sex == "F" else "man"
    who = who if body.age_years >= 18 else "girl" if body.sex == "F" else "boy"
    cards = [
        (f"{body.age_years:.0f}", "years", who),
        (f"{body.height_cm:.0f}", "cm", f"{body.weight_kg:.0f} kg"),
        (f"{60000.0 / (heartbeat_ms(cine) or 1000.0):.0f}", "/min", "heart rate"),
    ]
    function = cine.function
    if function is not None:
        for value, unit, name in (
            (function.lv_edv_ml, "ml", "LV end-diastolic"), (function.lv_esv_ml, "ml", "LV end-systolic"),
            (function.lv_ef_percent, "%", "LV ejection fraction"), (function.lv_mass_g, "g", "LV mass"),
            (function.rv_edv_ml, "ml", "RV end-diastolic"), (function.rv_ef_percent, "%", "RV ejection fraction"),
        ):
            if value is not None:
                cards.append((f"{value:.0f}", unit, name))
    return '<div class="cards">' + "".join(
        f'<div class="card"><b>{number}<small>{unit}</small></b><span>{escape(name)}</span></div>'
        for number, unit, name in cards
    ) + "</div>"


def curves_section(cine: Cine, subject: Any, strain: StrainSeries) -> Section:
    """Volume and strain, measured from the true motion, over the heartbeat."""
    times = frame_times(cine)
    phases = np.arange(cine.image.shape[0]) / cine.image.shape[0]
    volumes = np.array([subject.volumes_ml(float(phase)) for phase in phases])
    series = [Series("LV, true", volumes[:, 0].tolist(), "red"), Series("RV, true", volumes[:, 1].tolist(), "blue")]
    if cine.labels is not None:
        voxel_ml = float(np.prod(cine.grid.spacing_mm)) / 1000.0
        counted = (cine.labels == 1).sum(axis=(1, 2, 3)) * voxel_ml
        series.append(Series("LV, counted from labels", counted.tolist(), "grey"))
    charts = "<div>" + titled(line_chart(times, series, "time after the R wave (ms)", "volume (ml)",
                                          "Volume of both ventricles over the heartbeat"), "Volume") + "</div>"
    # Green-Lagrange strain E as the change of length that echo and feature tracking report: sqrt(1 + 2 E) - 1.
    percent = 100.0 * (np.sqrt(1.0 + 2.0 * strain.whole) - 1.0)
    lines = [Series(name, values.tolist(), colour)
             for name, values, colour in zip(COMPONENTS, percent.T, ("green", "red", "blue"), strict=True)]
    charts += "<div>" + titled(line_chart(times, lines, "time after the R wave (ms)", "strain (%)",
                                           "Strain of the left ventricle's wall over the heartbeat"),
                                "Strain of the LV wall") + "</div>"
    return Section(
        "Function and motion", f'<div class="charts">{charts}</div>',
        "The true volumes come from the closed form of the heart, the strain (median over the wall) from its true "
        "displacement; the dashed line follows the cine above.",
    )


def stack_section(cine: Cine) -> Section:
    """Every slice at end diastole and end systole, with labels."""
    systole = int(np.argmin((cine.labels == 1).sum(axis=(1, 2, 3)))) if cine.labels is not None else 0
    html = strip(cine, [(0, "end diastole"), (systole, "end systole")])
    return Section("From base to apex", html, "Each slice of the short-axis stack with its true labels.")


def strip(cine: Cine, frames: Sequence[tuple[int, str]]) -> str:
    """Every slice of some frames, each given with its name, with the cine's labels."""
    levels, crop = levels_of(cine), heart_crop(cine, 0.5)
    rows = []
    for frame, name in frames:
        labelled, slices = cine.labels is not None, range(cine.image.shape[1])
        pixels = [picture(cine, s, frame, labelled, levels, 280, crop) for s in slices]
        figures = "".join(
            f'<figure><img loading="lazy" alt="slice {s + 1} at {name}" src="'
            f'{data_uri(shown, "WEBP", quality=80, method=4)}"><figcaption>slice {s + 1}, {name}</figcaption></figure>'
            for s, shown in enumerate(pixels)
        )
        rows.append(f'<div class="strip">{figures}</div>')
    return "<br>".join(rows)


def long_axis_section(views: Sequence[tuple[str, Cine]]) -> Section:
    """Moving long-axis views of the same subject."""
    figures = []
    for name, cine in views:
        frames = enlarged_frames(cine, 0, levels_of(cine))
        source = _animation_uri(frames, heartbeat_ms(cine) or 1000.0)
        figures.append(f'<figure><img alt="moving {name}" src="{source}">'
                       f"<figcaption>{escape(name)}</figcaption></figure>")
    return Section("Long-axis views", '<div class="strip views">' + "".join(figures) + "</div>",
                   "Planned from the same anatomy, as an operator would.")


def tagged_section(tagged: Cine, untagged: Cine) -> Section:
    """One slice as cine and with tags, moving side by side.

    Parameters
    ----------
    tagged
        One slice, tagged, with labels.
    untagged
        The same slice as cine.
    """
    crop = heart_crop(tagged)
    figures = []
    for name, cine in (("cine", untagged), ("tagged, spoiled gradient echo", tagged)):
        frames = enlarged_frames(cine, 0, levels_of(cine), crop)
        source = _animation_uri(frames, heartbeat_ms(cine) or 1000.0)
        figures.append(f'<figure><img alt="moving slice, {name}" src="{source}"><figcaption>{escape(name)}</figcaption>'
                       "</figure>")
    acquisition = tagged.sidecar.get("tagging", {}).get("acquisition") or {}
    text = ""
    if acquisition:
        text = (f"<p>Preparation {escape(str(acquisition['train']))}, {acquisition['total_flip_deg']:g}\N{DEGREE SIGN} "
                f"in total, a grid every {acquisition['spacing_mm']:g} mm.</p>")
    return Section("Tagged", '<div class="strip views">' + "".join(figures) + "</div>" + text,
                   "The same slice with tags laid on at the R wave: they move with the muscle, fade with T1 and the "
                   "readout, and are washed out of the blood.")


def files_section(folder: Path, written: Sequence[Path], cine: Cine, seed: int) -> Section:
    """What lies beside the page, and how to make it again."""
    rows = "".join(
        f'<tr><td><a href="{escape(p.name)}">{escape(p.name)}</a></td><td>{escape(_meaning(p.name))}</td>'
        f'<td class="number">{_size(p.stat().st_size)}</td></tr>' for p in written
    )
    protocol = cine.sidecar.get("protocol", {})
    scan = (f"{protocol.get('vendor', '')} {protocol.get('field_t', '')} T, "
            f"TR/TE {protocol.get('repetition_time_ms', 0):g}/{protocol.get('echo_time_ms', 0):g} ms, flip angle "
            f"{protocol.get('flip_angle_deg', 0):g}\N{DEGREE SIGN}, {cine.grid.spacing_mm[0]:.2f} x "
            f"{cine.grid.spacing_mm[1]:.2f} mm pixels, {cine.grid.slice_thickness_mm:g} mm slices every "
            f"{cine.grid.spacing_mm[2]:g} mm, {cine.image.shape[0]} phases")
    html = (
        '<div class="scroll"><table><tr><th>File</th><th>What it is</th><th class="number">Size</th></tr>'
        f"{rows}</table></div><p>{escape(scan)}.</p><pre><code>"
        + escape(f"cmrsim demo --seed {seed + 1}                       # another subject\n"
                 "cmrsim simulate --out heart.nii.gz --seed 7 --pathology dcm\n"
                 "cmrsim simulate --help")
        + "</code></pre>"
    )
    return Section("Files, and more of them", html, "The same seed gives the same files, bit for bit.")


def titled(figure: str, title: str) -> str:
    """A chart with a title above it."""
    return figure.replace('<figure class="plot">', f'<figure class="plot"><h3>{escape(title)}</h3>', 1)


def frame_times(cine: Cine) -> list[float]:
    """Time of each frame in ms, mean over the slices; the frames' numbers where no times are known."""
    if cine.times_ms is not None:
        return [float(v) for v in cine.times_ms.mean(axis=0)]
    return [float(v) for v in range(cine.image.shape[0])]


def _size(count: int) -> str:
    """Bytes in a unit that does not round them to nothing."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{max(1, round(count / 1e3))} kB"


def _meaning(name: str) -> str:
    for ending, meaning in (
        ("_labels.nii.gz", "true labels: 1 LV blood pool, 2 LV myocardium, 3 RV blood pool"),
        ("_motion.nii.gz", "true displacement to end diastole, RAS mm"),
        (".nii.gz", "the cine, (x, y, z, t)"),
        (".json", "the record that makes the cine again: drawn parameters, function, times, versions"),
        (".gif", "the middle slice, moving"), (".csv", "volume and strain curves"),
    ):
        if name.endswith(ending):
            return meaning
    return ""


def _animation_uri(frames: Any, cycle_ms: float) -> str:
    import base64
    import io

    from PIL import Image

    stream = io.BytesIO()
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(stream, format="WEBP", save_all=True, append_images=pictures[1:], loop=0, quality=84, method=4,
                     duration=max(20, round(cycle_ms / len(pictures))))
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
