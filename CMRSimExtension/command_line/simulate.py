"""`cmrsim simulate`: a cine with its truth, from a seed or from somebody's anatomy."""

import argparse
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.scan_options import add_scan_options, build_protocol, chosen, truths

HELP = "simulate a cine with its labels"
DESCRIPTION = """\
Scan a virtual subject with a simulated MR scanner. Writes X.nii.gz (x, y, z, t), X_labels.nii.gz and the other truths
asked for, and X.json: every drawn parameter, true function, frame times, versions, seed. The same options and seed
give the same files again, bit for bit.
"""
EXAMPLES = """\
examples:
  cmrsim simulate --out heart.nii.gz --seed 7
  cmrsim simulate --out dcm.nii.gz --pathology dcm --edv-ml 240 --esv-ml 180 --protocol philips_3t
  cmrsim simulate --out steep.nii.gz --frontal-deg 55 --transverse-deg 40 --roll-deg -20 --chest-half-width-mm 150
  cmrsim simulate --out 4ch.nii.gz --plane 4ch --phases 40
  cmrsim simulate --out turned.nii.gz --rotation-deg -30
  cmrsim simulate --out oedema.nii.gz --tissue myocardium:t1_ms=1200,t2_ms=70 --tissue blood_arterial:t2_ms=200
  cmrsim simulate --out full.nii.gz --truth labels,anatomy,motion,fractions
  cmrsim simulate --out patient.nii.gz --anatomy patient061_frame01_gt.nii.gz --labels-map acdc
  cmrsim simulate --out phantom.nii.gz --anatomy phantom_act_1.bin
  cmrsim simulate --out tagged.nii.gz --tag grid --spacing-mm 6 --truth labels,motion
  cmrsim simulate --out heart.nii.gz --config scan.yaml --seed 8
  cmrsim simulate --out copy.nii.gz --again heart.json
  cmrsim simulate --out copy.nii.gz --again patient.json --anatomy patient061_frame01_gt.nii.gz

a configuration file holds the same names:
  seed: 7
  pathology: dcm
  protocol: {preset: siemens_3t, snr: 25, fov_mm: [300, 340]}
  tissue: {myocardium: {t1_ms: 1200, t2_ms: 70, proton_density: 0.8}}
  truth: [labels, motion]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="X.nii.gz", required=True, help="image to write; the rest is named after it")
    parser.add_argument("--again", metavar="X.json",
                        help="make the cine of this sidecar again, bit for bit with the same versions; of the options "
                        "below only --anatomy and --xcat-vectors go with it, to say where the anatomy's files lie now")
    add_scan_options(parser)


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.command_line.replaying import RecordedScan
    from CMRSimExtension.command_line.scanning import scan
    from CMRSimExtension.files.cine_files import check_target, refuse_own_input, write_cine

    path = Path(options.out)
    check_target(path)
    values = chosen(options)
    again = RecordedScan(Path(options.again), values) if options.again else None
    read = [options.config, options.again, *(values.get(name) for name in ("anatomy", "xcat_vectors"))]
    refuse_own_input(path, [*(name for name in read if name), *(again.files if again else ())])
    wanted = truths(values)
    protocol = build_protocol(values)
    with ExitStack() as stack:
        raw = None
        if "kspace" in wanted or (again is not None and again.with_kspace):
            from CMRSimExtension.command_line.kspace_store import KspaceStore

            raw = stack.enter_context(KspaceStore(path.parent))
        cine = scan(values, protocol, wanted, console, raw) if again is None else again.scan(console, raw)
        console.say("writing")
        writer = None if raw is None else partial(raw.write, cine)
        for written in write_cine(cine, path, writer):
            console.result(str(written))
    if cine.function is not None:
        known = {name: value for name, value in cine.function.as_dict().items() if value is not None}
        console.say("true function: " + ", ".join(f"{name} {value:.1f}" for name, value in known.items()))
