"""`cmrsim` in 3D Slicer, on files and on scenes, without a window.

    Slicer --no-splash --no-main-window --python-script CMRSimExtension/slicer_bridge/batch.py \\
        segment Patient.mrb --node "Cine" --out Segmented.mrb --model cine_sax

Commands and options are those of ``cmrsim``. Where the input or ``--out`` is a scene (``.mrb``, as input also
``.mrml``), the image is taken from the scene's node ``--node`` (its only image, where it has one only), with the labels
and true motion shown with it, and the results are added beside it; an image from a file is added to the new scene
first. Exit codes are those of ``cmrsim``; the
application ends in every case. Without the application the same file runs on ``slicer-core``.
"""

import argparse
import os
import sys
import tempfile
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Run as a script: this folder, whose names are the package's own, must not stand on the path; its root must.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or os.curdir).resolve() != here]
    sys.path.append(str(here.parents[1]))

from CMRSimExtension.errors import CMRSimError, FileFormatError, InputError

SCENE_ENDINGS = (".mrb", ".mrml")
COMMANDS_ON_SCENES = ("simulate", "tag", "strain", "segment")
SUCCESS, FAILURE, UNUSABLE_INPUT = 0, 1, 2


def is_scene(text: str) -> bool:
    """Whether a file name is a scene's."""
    return text.lower().endswith(SCENE_ENDINGS)


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code.

    Raises
    ------
    InputError, FileFormatError
        If a scene cannot be used.
    """
    from CMRSimExtension.command_line.main import main

    if not any(is_scene(argument) for argument in arguments):
        return main(arguments)
    if arguments[0] not in COMMANDS_ON_SCENES:
        raise InputError(f"{arguments[0]} does not work on scenes; choose from {', '.join(COMMANDS_ON_SCENES)}")
    rest = list(arguments)
    target = _take_option(rest, "--out")
    node_name = _take_option(rest, "--node")
    if target is None:
        raise InputError("--out is missing; name the scene to write, ending in .mrb")
    if not target.lower().endswith(".mrb"):
        raise InputError(f"{target} does not end in .mrb; a scene is written together with its data, as .mrb")
    if not Path(target).resolve().parent.is_dir():
        raise InputError(f"the folder of {target} does not exist; make it first")
    with tempfile.TemporaryDirectory(prefix="cmrsim-batch-") as folder:
        return _run_on_scene(rest, Path(folder), Path(target), node_name)


def _take_option(arguments: list[str], name: str) -> str | None:
    """Remove an option with its value; None where it is not given."""
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return arguments.pop(index)[len(name) + 1 :]
        if argument == name:
            if index + 1 == len(arguments):
                raise InputError(f"{name} needs a value")
            value = arguments[index + 1]
            del arguments[index : index + 2]
            return value
    return None


def _run_on_scene(arguments: list[str], folder: Path, target: Path, node_name: str | None) -> int:
    from CMRSimExtension.command_line.console import Console
    from CMRSimExtension.command_line.main import answered, build_parser, main
    from CMRSimExtension.files.cine_files import write_cine
    from CMRSimExtension.slicer_bridge.sequences import cine_of_node

    command, scene = arguments[0], _Scene()
    node = None
    for index, argument in enumerate(arguments[1:], start=1):
        if is_scene(argument):
            scene.read(Path(argument))
            node = image_node(node_name)
            source = folder / "input.nii.gz"
            cine = cine_of_node(node)
            motion = motion_beside(node, cine) if command in ("tag", "strain") else None
            write_cine(replace(cine, labels=labels_beside(node, cine), displacement_mm=motion), source)
            arguments[index] = str(source)
    result = folder / "result.nii.gz"
    arguments = [*arguments, "--out", str(result)]
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as end:  # what is wrong has been said
        return end.code if isinstance(end.code, int) else UNUSABLE_INPUT
    if node is None and command != "simulate":
        node = add_image(command, options)
    if command == "strain":
        console = Console(options.quiet)
        code = answered(lambda: add_strain_of(node, options, console), console)
    else:
        code = main(arguments)
        if code == SUCCESS:
            add_result(command, result, node)
    if code == SUCCESS:
        scene.write(target)
    return code


def add_image(command: str, options: argparse.Namespace) -> Any:
    """Add the image file that a command reads to the scene, and its labels if they lie beside it.

    Parameters
    ----------
    command, options
        ``tag``, ``strain`` or ``segment``, and what `cmrsim` understood of its arguments.

    Returns
    -------
    vtkMRMLScalarVolumeNode
        The proxy of its sequence.

    Raises
    ------
    InputError, FileFormatError
        If it cannot be read, or is a folder of cases, which one scene cannot show.
    """
    from CMRSimExtension.command_line.console import Console
    from CMRSimExtension.command_line.tag_input import read_tag_input
    from CMRSimExtension.slicer_bridge.segmentations import add_label_frames
    from CMRSimExtension.slicer_bridge.sequences import add_cine

    paths = [Path(name) for name in ([options.input] if isinstance(options.input, str) else options.input)]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name")
        if command == "segment" and path.is_dir() and any(path.glob("*.nii*")):
            raise InputError(
                f"{path} is a folder of cases, and a scene shows one; give one image, or a folder as --out")
    cine, _ = read_tag_input(
        paths, [], None, getattr(options, "series", None), Console(True), want_motion=False)
    name = paths[0].name.split(".")[0]
    nodes = add_cine(cine, name)
    if cine.labels is not None:
        add_label_frames(cine.labels, cine.grid, f"{name} heart", nodes)
    return nodes.proxy


def image_node(name: str | None) -> Any:
    """The image of the current scene called `name`, or its only one.

    Raises
    ------
    InputError
        If there is none of that name, or the choice is not clear.
    """
    import slicer

    scene = slicer.mrmlScene
    volumes = [
        node for node in (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))
        if node.IsA("vtkMRMLScalarVolumeNode") and not node.IsA("vtkMRMLLabelMapVolumeNode")
        and not node.GetHideFromEditors()]
    names = ", ".join(f"'{node.GetName()}'" for node in volumes) or "none"
    if name is not None:
        for node in volumes:
            if name in (node.GetName(), node.GetID()):
                return node
        raise InputError(f"the scene has no image called '{name}'; there are: {names}")
    if len(volumes) != 1:
        raise InputError(f"say with --node which image of the scene is meant; there are: {names}")
    return volumes[0]


def labels_beside(node: Any, cine: Any) -> Any:
    """Clinical labels of the segmentation that is shown with a sequence's proxy `node`, or None.

    A segmentation with other segments, or of other frames, is not one of the cine's labels and is left alone.
    """
    from CMRSimExtension.slicer_bridge.segmentations import CLINICAL_LABELS, labels_of_node, segment_labels

    for sequence in _sequences_shown_with(node, "vtkMRMLSegmentationNode", len(cine.image)):
        try:
            known = set(segment_labels(sequence.GetNthDataNode(0)).values()) == set(CLINICAL_LABELS)
        except InputError:  # a segment that we do not know
            continue
        if known:
            return labels_of_node(sequence, cine.grid)[0]
    return None


def motion_beside(node: Any, cine: Any) -> Any:
    """Displacement, (frames, slices, rows, columns, 3) RAS mm, that is shown with a sequence's proxy `node`, or None.

    Only transforms that we made: those of somebody else's registration are not the motion that a cine was made with.
    """
    from CMRSimExtension.slicer_bridge.scene import get_attribute
    from CMRSimExtension.slicer_bridge.transforms import displacement_of_node
    from CMRSimExtension.slicer_bridge.volumes import THICKNESS, same_grid

    for sequence in _sequences_shown_with(node, "vtkMRMLTransformNode", len(cine.image)):
        if get_attribute(sequence.GetNthDataNode(0), THICKNESS) is not None:
            displacement, grid = displacement_of_node(sequence)
            if same_grid(grid, cine.grid):
                return displacement
    return None


def _sequences_shown_with(node: Any, class_name: str, frames: int) -> list[Any]:
    """Sequences of `frames` nodes of a class in the browser of the sequence whose proxy is `node`."""
    from vtk import vtkCollection

    from CMRSimExtension.slicer_bridge.scene import sequences_logic

    browser = sequences_logic().GetFirstBrowserNodeForProxyNode(node)
    if browser is None:
        return []
    found = vtkCollection()
    browser.GetSynchronizedSequenceNodes(found, False)
    sequences = [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]
    return [
        sequence for sequence in sequences
        if sequence.GetNumberOfDataNodes() == frames and sequence.GetNthDataNode(0).IsA(class_name)]


def add_strain_of(node: Any, options: argparse.Namespace, console: Any) -> None:
    """Measure strain as ``cmrsim strain`` does with these options, and add its tables and chart beside `node`."""
    from CMRSimExtension.command_line.strain import measure, tell_difference
    from CMRSimExtension.slicer_bridge.strain_nodes import add_strain

    found, truth = measure(options, console)
    add_strain(found, truth, f"{node.GetName()} strain", node)
    tell_difference(found, truth, console)


def add_result(command: str, result: Path, node: Any) -> None:
    """Add what a command wrote to the scene, beside the node it was made from."""
    from CMRSimExtension.files.cine_files import companion, read_cine
    from CMRSimExtension.slicer_bridge.segmenting import add_segmented, read_input
    from CMRSimExtension.slicer_bridge.simulating import add_simulation
    from CMRSimExtension.slicer_bridge.tagging_nodes import add_tagged

    if command == "segment":
        cine = read_input(node, stack=False)
        add_segmented(node, cine, False, segmented_in_file(result, cine), f"{node.GetName()} segmentation")
        return
    truths = tuple(truth for truth in ("labels", "anatomy", "motion") if companion(result, truth).is_file())
    cine = read_cine(result, truths=truths)
    if cine.displacement_mm is not None and cine.grid.shape[0] < 2:
        print("cmrsim: motion of a single slice cannot be a transform and is left out of the scene", file=sys.stderr)
        cine = replace(cine, displacement_mm=None)
    if command == "simulate":
        add_simulation(cine, "Simulated cine")
    else:
        add_tagged(cine, f"{node.GetName()} tagged", node, keep_motion=cine.displacement_mm is not None)


def segmented_in_file(result: Path, cine: Any) -> dict[str, Any]:
    """What ``cmrsim segment`` wrote, as the ``segment`` job gives it."""
    import json

    import numpy as np

    from CMRSimExtension.evaluation.function import function_from_labels
    from CMRSimExtension.files.cine_files import companion, read_cine, sidecar_path
    from CMRSimExtension.files.nifti import read_nifti
    from CMRSimExtension.slicer_bridge.jobs import maps_percent

    labels = np.rint(read_cine(result, truths=()).image).astype(np.uint8)
    record = json.loads(sidecar_path(result).read_text(encoding="utf-8"))
    curves = None
    if record["function"] is not None:  # it is None where voxel sizes cannot be true
        dx, dy, dz = cine.grid.spacing_mm
        curves = asdict(function_from_labels(labels, (dz, dy, dx)))  # of the frames that show an LV, as the file's own
        curves["indexed"] = record["indexed"]
        curves["wall_mm"] = record.get("wall_thickness_mm", {})
    maps: dict[str, Any] = {}
    if "probability_channels" in record:
        shares, doubt = (read_nifti(companion(result, name)).values for name in ("probabilities", "uncertainty"))
        channels = {int(number): label for number, label in record["probability_channels"].items()}
        maps = maps_percent(np.moveaxis(shares, -1, 1), doubt, channels)
    return {
        "labels": labels, "frames": record["frames"], "curves": curves,
        "normal_ranges": record.get("normal_ranges", {}), "maps_percent": maps}


class _Scene:
    """The application's scene, or one of its own where there is no application."""

    def __init__(self) -> None:
        from CMRSimExtension.slicer_bridge.bare_scene import BareScene, inside_application

        self._bare = None if inside_application() else BareScene()

    def read(self, path: Path) -> None:
        import slicer

        if not path.is_file():
            raise InputError(f"{path} does not exist; check the name")
        scene = slicer.mrmlScene
        scene.SetURL(str(path))
        done = scene.ReadFromMRB(str(path), True) if path.suffix.lower() == ".mrb" else scene.Connect()
        if not done:
            raise FileFormatError(f"{path} could not be read as a scene: {scene.GetErrorMessage() or 'damaged'}")

    def write(self, path: Path) -> None:
        import slicer

        # Beside the target first: a scene that fails half-way must not take the place of one that was whole.
        with tempfile.TemporaryDirectory(prefix="cmrsim-", dir=path.resolve().parent) as folder:
            unfinished = Path(folder) / path.name
            if not slicer.mrmlScene.WriteToMRB(str(unfinished)):
                raise FileFormatError(f"{path} could not be written; check the folder and the free space")
            unfinished.replace(path)


def main() -> int:
    """Run with the process's arguments; every error becomes a message and an exit code."""
    arguments = sys.argv[1:]
    try:
        if not arguments:
            raise InputError("no command; give simulate, tag, strain or segment with the options of cmrsim")
        return run(arguments)
    except CMRSimError as error:
        print(f"cmrsim: error: {error}", file=sys.stderr)
        return UNUSABLE_INPUT
    except Exception:  # Slicer would stay open for ever on an error that gets out
        traceback.print_exc()
        return FAILURE


if __name__ == "__main__":
    sys.exit(main())
