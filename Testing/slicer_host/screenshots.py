"""Makes the pictures of the documentation: panels and slice views, drawn offscreen by Qt and by Slicer's own renderer.

``VTK_DEFAULT_OPENGL_WINDOW=vtkEGLRenderWindow python -m Testing.slicer_host.screenshots`` writes them into ``Docs`` and
the thumbnails of the sample data into ``CMRSimulate``, over those of the repository; with ``--out FOLDER`` all of them
into another folder. The variable is for machines without a display.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from PIL import Image
from PySide6 import QtGui
from vtk.util.numpy_support import vtk_to_numpy

from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.slicer_bridge import jobs, views
from CMRSimExtension.slicer_bridge.simulating import add_simulation
from CMRSimExtension.slicer_bridge.tagging_nodes import add_tagged
from Testing.slicer_host.host import REPOSITORY, SlicerHost

SCREENSHOTS = REPOSITORY / "Docs" / "Screenshots"
THUMBNAILS = REPOSITORY / "CMRSimulate" / "Resources" / "Icons"
VIEW_PX = 360
FIELD_OF_VIEW_MM = 190.0
PANEL_WIDTH_PX = 460
SETTLE_S = 0.3
THUMBNAIL_PX = (260, 280)
_drawn: list[Any] = []
"""Render windows stay alive to the end: displayable managers still look at them when scenes change."""


def slice_picture(host: SlicerHost, view: str, centre_ras: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(rows, columns, 3) uint8 of one slice view around a point, segmentations included."""
    logic = host.scene.slice_logics[view]
    node = logic.GetSliceNode()
    node.SetDimensions(*size, 1)
    node.SetFieldOfView(FIELD_OF_VIEW_MM * size[0] / size[1], FIELD_OF_VIEW_MM, 1.0)
    node.JumpSliceByCentering(*centre_ras)
    node.UpdateMatrices()
    window, renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
    window.SetOffScreenRendering(1)
    window.SetSize(*size)
    window.SetMultiSamples(0)
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()  # the displayable managers ask the window for one
    interactor.SetRenderWindow(window)
    interactor.Initialize()
    mapper, actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
    mapper.SetInputConnection(logic.GetBlend().GetOutputPort())
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor.SetMapper(mapper)
    renderer.AddViewProp(actor)
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(host.scene.logics["application"])
    if not factory.IsDisplayableManagerRegistered("vtkMRMLSegmentationsDisplayableManager2D"):
        factory.RegisterDisplayableManager("vtkMRMLSegmentationsDisplayableManager2D")
    group = factory.InstantiateDisplayableManagers(renderer)
    group.SetMRMLDisplayableNode(node)
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    _drawn.append((window, renderer, interactor, mapper, actor, group))
    pixels = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars())
    return np.ascontiguousarray(pixels.reshape(size[1], size[0], -1)[::-1, :, :3])


def write_small(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG of at most 256 colours, a fraction of the size with all: they are committed."""
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def panel_picture(host: SlicerHost, name: str, choose: Callable[[Any], None], folder: Path) -> None:
    """Write one panel as PNG, as it looks when `choose` has set its parameters."""
    panel = host.open_panel(name)
    choose(panel.logic.getParameterNode())
    widget = panel.parent._q
    widget.resize(PANEL_WIDTH_PX, widget.sizeHint().height())
    widget.show()
    host.run_until(lambda: False, SETTLE_S)
    # Lines that wrap take their height when the width is known.
    widget.resize(PANEL_WIDTH_PX, widget.layout().heightForWidth(PANEL_WIDTH_PX))
    host.run_until(lambda: False, SETTLE_S)
    picture = widget.grab()
    picture.setDevicePixelRatio(1.0)
    image = picture.toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    pixels = rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)
    write_small(Image.fromarray(pixels), folder / f"{name}.png")
    host.close_panel(panel)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every picture, where the arguments of the command line say."""
    parser = argparse.ArgumentParser(
        prog="python -m Testing.slicer_host.screenshots", allow_abbrev=False,
        description="Draws the panels, slice views and thumbnails of the documentation (some minutes).")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="write all pictures here (default: over the repository's, in Docs/Screenshots and CMRSimulate)")
    options = parser.parse_args(arguments)
    write_pictures(options.out or SCREENSHOTS, options.out or THUMBNAILS)


def write_pictures(folder: Path, thumbnails: Path) -> None:
    """Write the pictures of the documentation into `folder` and those of the sample data into `thumbnails`."""
    for target in (folder, thumbnails):
        target.mkdir(parents=True, exist_ok=True)
    host = SlicerHost()
    quiet = lambda share, text: None  # noqa: E731
    protocol = Protocol.preset("siemens_1.5t").replace(phases=6)
    values = jobs.run("simulate", {
        "source": "parametric", "anatomy": {"pathology": "normal"}, "protocol": protocol.as_dict(), "plane": "sax",
        "truth": ["labels", "motion"], "seed": 7, "faults": {}}, quiet)
    cine = values["cine"]
    tagged = jobs.run("tag", {
        "cine": cine, "options": {}, "seed": 1, "labels": cine.labels, "displacement": cine.displacement_mm}, quiet)
    simulated = add_simulation(cine, "Simulated cine")
    tagged_nodes = add_tagged(tagged["cine"], "Simulated cine tagged", simulated.cine.proxy, keep_motion=False)

    def choose_for_tagging(parameters: Any) -> None:
        parameters.inputNode, parameters.segmentation = simulated.cine.proxy, simulated.labels.proxy
        parameters.strainInput, parameters.strainSegmentation = tagged_nodes.cine.proxy, tagged_nodes.labels.proxy

    def choose_for_segmentation(parameters: Any) -> None:
        parameters.inputNode, parameters.reference = simulated.cine.proxy, simulated.labels.proxy
        parameters.outputSegmentation = simulated.labels.proxy

    panel_picture(host, "CMRSimulate", lambda parameters: None, folder)
    panel_picture(host, "CMRTagged", choose_for_tagging, folder)
    panel_picture(host, "CMRSegment", choose_for_segmentation, folder)
    middle = cine.grid.shape[0] // 2
    heart = np.argwhere(cine.labels[0, middle] > 0).mean(axis=0)
    centre = cine.grid.affine_ras @ (heart[1], heart[0], middle, 1.0)
    rows = []
    for nodes, shown in ((simulated, (False, True)), (tagged_nodes, (False, True))):
        views.show_volume(nodes.cine.proxy, fit=False)
        in_plane = _view_of_the_slices(host, cine)
        row = []
        for frame in (0, 2):
            nodes.cine.browser.SetSelectedItemNumber(frame)
            for with_labels in shown:
                for other in (simulated, tagged_nodes):
                    other.labels.proxy.GetDisplayNode().SetVisibility(with_labels and other is nodes)
                row.append(slice_picture(host, in_plane, centre[:3], (VIEW_PX, VIEW_PX)))
        rows.append(np.concatenate(row, axis=1))
        name = "SimulatedCine" if nodes is simulated else "SimulatedTaggedCine"
        thumbnail = Image.fromarray(row[1]).resize((THUMBNAIL_PX[1], THUMBNAIL_PX[1])).crop((10, 0, 270, 280))
        write_small(thumbnail, thumbnails / f"{name}.png")
    write_small(Image.fromarray(np.concatenate(rows)), folder / "slice_views.png")


def _view_of_the_slices(host: SlicerHost, cine: Any) -> str:
    """Name of the view whose plane is that of the slices."""
    normal = cine.grid.affine_ras[:3, 2] / np.linalg.norm(cine.grid.affine_ras[:3, 2])

    def alignment(name: str) -> float:
        matrix = host.scene.slice_logics[name].GetSliceNode().GetSliceToRAS()
        return abs(sum(matrix.GetElement(row, 2) * normal[row] for row in range(3)))

    return max(host.scene.slice_logics, key=alignment)


if __name__ == "__main__":
    main()
