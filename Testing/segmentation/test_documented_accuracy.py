"""The tables of accuracy that people read say what the shipped bundles' metadata say."""

import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = REPOSITORY / "CMRSimExtension" / "segmentation" / "models"
SETS = {"ACDC": "acdc", "M&Ms vendor A": "mms_vendor_a", "M&Ms vendor B": "mms_vendor_b"}
STRUCTURES = ("lv_blood", "lv_myocardium", "rv_blood")
TAGS = {"`paper`": "paper_static_grid", "`moving`": "moving_tags"}


def measured(model: str) -> dict:
    """Accuracy of a shipped model, as its metadata hold it."""
    return json.loads((MODELS / model / "configs" / "metadata.json").read_text(encoding="utf-8"))["cmrsim"]["accuracy"]


def table_after(text: str, heading: str, head: str) -> list[list[str]]:
    """Cells of the rows of the first table under a heading whose first line starts so."""
    lines = text[text.index(f"## {heading}\n") :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head}"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def dice(values: dict) -> str:
    return " / ".join(f"{values[structure]:.3f}" for structure in STRUCTURES)


@pytest.fixture(scope="module")
def accuracy_page() -> str:
    return (REPOSITORY / "Docs" / "accuracy.md").read_text(encoding="utf-8")


def test_the_readme_says_what_the_shipped_models_reach():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    cine, tagged = measured("cine_sax")["real_all_volumes"], measured("tagged_sax")["tagged_real_volumes_all_patients"]
    stated = {
        row[0].removesuffix(" volumes"): row[1:]
        for row in table_after(readme, "How well it segments real hearts", "real images")
    }
    assert stated == {
        f"{shown}, {cine[key]['volumes']}": [
            dice(cine[key]), dice(tagged["paper_static_grid"][key]), dice(tagged["moving_tags"][key])
        ]
        for shown, key in SETS.items()
    }  # fmt: skip


def test_the_page_on_accuracy_says_what_the_cine_model_reaches(accuracy_page):
    cine = measured("cine_sax")["real_all_volumes"]
    stated = {row[0]: row[1:5] for row in table_after(accuracy_page, "`cine_sax`", "set")}
    assert stated == {
        shown: [str(cine[key]["volumes"]), *dice(cine[key]).split(" / ")] for shown, key in SETS.items()
    }  # fmt: skip


def test_the_page_on_accuracy_says_what_the_tagged_model_reaches(accuracy_page):
    tagged = measured("tagged_sax")["tagged_real_volumes_all_patients"]
    stated, tags = {}, ""
    for named, *row in table_after(accuracy_page, "`tagged_sax`", "tags"):
        tags = TAGS[named.split(":")[0]] if named else tags
        stated[tags, row[0]] = row[1:]
    assert stated == {
        (tags, shown): [str(tagged[tags][key]["volumes"]), *dice(tagged[tags][key]).split(" / ")]
        for tags in TAGS.values()
        for shown, key in SETS.items()
    }


@pytest.mark.parametrize("model", ["cine_sax", "tagged_sax"])
def test_the_page_on_accuracy_says_what_a_model_reaches_on_simulated_slices(model, accuracy_page):
    section = accuracy_page[accuracy_page.index(f"## `{model}`\n") :].split("\n## ")[0]
    assert dice(measured(model)["simulated_validation"]) in " ".join(section.split())
