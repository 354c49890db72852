"""`cmrsim train`: train a segmentation network from a configuration file."""

import argparse
import functools
import os
from pathlib import Path

from CMRSimExtension.command_line.console import Console

HELP = "train a segmentation network"
DESCRIPTION = """\
Train a network from simulated slices made on the fly, from labelled folders, or both, as a YAML file says. A run that
was stopped goes on from its last finished round when the same command is given again; one that is finished is not
trained again. Writes rounds.csv, TensorBoard logs, checkpoints, the weights, and at the end a MONAI bundle that
'cmrsim models add' takes. The same command uses a CPU, a GPU, or many GPUs when started by torchrun.

Labelled folders ('folder:' in the YAML file) are read as they are: pairs of files, X.nii.gz beside X_gt.nii.gz,
X_labels.nii.gz or X_seg.nii.gz, in the folder or below it (so ACDC and M&Ms as published; .nrrd and .seg.nrrd too); an
nnU-Net raw data set (imagesTr/X_0000.nii.gz, labelsTr/X.nii.gz); a MONAI data list (a .json file with a list
'training'). 'labels_map:' says what the label numbers mean: acdc, mms, cmrsim, or such as '1=rv,2=myo,3=lv'.

'test:' lists what the finished network is scored on, once its weights are final: labelled folders ('only:', 'without:'
and 'count:' choose cases) or simulated images. Files are segmented as 'cmrsim segment' does it and compared on their
own grid; Dice, HD and HD95 of every case and structure go to test_SOURCE.csv, their mean, SD, median and quartiles to
test.json and to the screen. With several repeats the mean and SD over these go to test_repeats.csv and .json. A run
whose patients to test on are among those it trains or validates on is refused. Nothing is scored twice; a test source
that is added later is scored by the same command, without training again.

The same configuration and seed give the same weights on the same type of machine, with the same number of threads and
processes. On GPUs torch is asked for its deterministic algorithms; this has been tried on CPUs only.
"""
EXAMPLES = """\
examples:
  cmrsim train cine_sax_base
  cmrsim train cine_sax_second --start-from runs/cine_sax_base
  cmrsim train cine_sax_third --start-from runs/cine_sax_second
  cmrsim train cine_sax_fourth --start-from runs/cine_sax_third
  cmrsim train cine_sax_fifth --start-from runs/cine_sax_fourth
  cmrsim train cine_sax --start-from runs/cine_sax_fifth
  cmrsim train my_config.yaml --out runs/mine --workers 4 --device cuda
  cmrsim train --list
  torchrun --nproc-per-node 4 -m CMRSimExtension.command_line.main train cine_sax_base
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="YAML file, or the name of a shipped configuration")
    parser.add_argument("--list", action="store_true", help="list the shipped configurations")
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/NAME)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that simulate (default: cores less one)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the training itself")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the configuration's")
    parser.add_argument(
        "--repeats", type=int, metavar="N",
        help="independent runs, instead of the configuration's; with the mean and SD of their scores",
    )  # fmt: skip
    parser.add_argument(
        "--cases", type=int, metavar="N",
        help="train on N cases of the labelled folder alone, drawn once; the run's name ends with the number",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, metavar="N", help="length of the run, instead of the configuration's")
    parser.add_argument(
        "--start-from", metavar="WEIGHTS",
        help="bundle, folder of a finished run, or a checkpoint by name (RUN/last.ckpt, also of a run that is not "
        "finished) to start from, instead of the configuration's",
    )
    parser.add_argument("--data", metavar="DIR", help="folder that 'data:' in the configuration's folders stands for")
    parser.add_argument("--no-resume", action="store_true", help="refuse a folder that already holds a run")


def run(options: argparse.Namespace, console: Console) -> None:
    import dataclasses

    from CMRSimExtension.errors import Cancelled, InputError

    # Threads that wait by spinning starve the processes that simulate; this must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from CMRSimExtension.training.configuration import TrainingConfiguration, Transfer, read_configuration, shipped

    if options.list or options.config is None:
        for name, path in shipped().items():
            console.result(f"{name:32} {read_configuration(path).description}")
        if not options.list:
            raise InputError("no configuration given; name one of these or a YAML file")
        return
    path = shipped().get(options.config, Path(options.config))
    configuration: TrainingConfiguration = read_configuration(path, options.data)
    changes = {name: getattr(options, name) for name in ("seed", "repeats") if getattr(options, name) is not None}
    if options.rounds is not None:
        changes["optimisation"] = dataclasses.replace(configuration.optimisation, rounds=options.rounds)
    if options.start_from is not None:
        only = configuration.transfer.train_only if configuration.transfer else ()
        changes["transfer"] = Transfer(options.start_from, only)
    configuration = dataclasses.replace(configuration, **changes)
    if options.cases is not None:
        configuration = configuration.on_cases(options.cases)
    folder = Path(options.out) if options.out else Path("runs") / configuration.name
    workers = options.workers if options.workers is not None else max(1, (os.cpu_count() or 2) - 1)
    from CMRSimExtension.segmentation.held_out import score_source
    from CMRSimExtension.segmentation.trained import bundle_of_run
    from CMRSimExtension.training.run import train
    from CMRSimExtension.training.scores import accuracy_of

    try:
        results = train(
            configuration, folder, workers=workers, device=options.device, threads=options.threads,
            resume=not options.no_resume, progress=not options.quiet and console.stream.isatty(), report=console.say,
            scorer=functools.partial(score_source, device=options.device, workers=workers),
        )  # fmt: skip
    except KeyboardInterrupt as error:
        raise Cancelled(f"stopped; {folder} keeps what is finished, and the same command goes on from there") from error
    if int(os.environ.get("RANK", 0)) > 0:
        return  # one process of several writes and reports
    for result in results:
        bundle = result.folder / "bundle"
        if not bundle.exists():
            tested = accuracy_of(result.folder)
            bundle_of_run(result.folder, bundle, scores=result.scores, accuracy={"test": tested} if tested else None)
        console.result(str(bundle))
        console.say(", ".join(f"{name} {value:.3f}" for name, value in sorted(result.scores.items())))
