"""The shipped terminology file, so that segments show their terms in 3D Slicer's terminology selector.

``python -m CMRSimExtension.slicer_bridge.terminology_file`` writes it again after a change to the terms.
"""

import json
from pathlib import Path
from typing import Any

from CMRSimExtension.anatomy.terminology import CONTEXT_NAME, terminology_context

FILE = Path(__file__).with_name("CMRSimExtension.term.json")


def load_terminology(terminologies_logic: Any) -> None:
    """Let a ``vtkSlicerTerminologiesModuleLogic`` know our terms, unless it does already.

    Raises
    ------
    RuntimeError
        If Slicer cannot read the file.
    """
    if terminologies_logic.IsTerminologyContextLoaded(CONTEXT_NAME):
        return
    if terminologies_logic.LoadTerminologyFromFile(str(FILE)) != CONTEXT_NAME:
        raise RuntimeError(f"3D Slicer could not read the terminology {FILE}; reinstall the extension")


if __name__ == "__main__":
    FILE.write_text(json.dumps(terminology_context(), indent=1) + "\n", encoding="utf-8")
