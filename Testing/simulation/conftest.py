"""One subject for all tests of the scan: making it costs more than most of them."""

import pytest

from CMRSimExtension.anatomy.subject import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject.random(11)
