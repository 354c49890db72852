"""Training on several processes, as ``torchrun`` starts them, by the command that one process takes."""

import csv
import os
import sys
from pathlib import Path
from subprocess import run

import torch
import yaml

from CMRSimExtension.segmentation.bundle import verify_bundle
from CMRSimExtension.training.configuration import read_configuration
from CMRSimExtension.training.run import train
from Testing.training.test_run import TOY

ROOT = Path(__file__).parents[2]


def torchrun(processes: int, config: Path, out: Path) -> str:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        "-m", "CMRSimExtension.command_line.main", "train", str(config), "--out", str(out), "--device", "cpu",
        "--workers", "0", "--threads", "1",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_two_processes_train_one_network_on_streams_of_their_own(tmp_path):
    config, out = tmp_path / "toy.yaml", tmp_path / "run"
    held_out = [{"simulated": TOY["train"][0]["simulated"], "count": 4}]
    config.write_text(yaml.safe_dump(TOY | {"test": held_out}), encoding="utf-8")
    said = torchrun(2, config, out)
    # One of the two reports, scores and writes.
    assert said.count("round 3 of 3") == 1 and said.count(str(out / "bundle")) == 1
    assert said.count("drawing 4 images of simulated") == 1 and (out / "test_simulated.csv").is_file()
    with (out / "rounds.csv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [6, 12, 18]
    verify_bundle(out / "bundle")
    together = torch.load(out / "weights.pt", weights_only=True)
    (alone,) = train(read_configuration(TOY), tmp_path / "alone", workers=0, device="cpu", progress=False)
    single = torch.load(alone.weights, weights_only=True)
    # What the second process saw has moved the weights by far more than another order of sums would.
    apart = max(float((together[name].float() - single[name].float()).abs().max()) for name in single)
    assert apart > 1e-3
    assert "holds this run, finished before" in torchrun(2, config, out)
