"""What `import CMRSimExtension` and `cmrsim --help` cost (aim: the import under 0.3 s)."""

import subprocess
import sys


def test_import_of_the_library(benchmark):
    benchmark.extra_info["aim_s"] = 0.3
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", "import CMRSimExtension"], check=True), rounds=5)


def test_python_itself_for_comparison(benchmark):
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), rounds=5)


def test_help(benchmark):
    command = [sys.executable, "-m", "CMRSimExtension.command_line.main", "--help"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), rounds=5)
