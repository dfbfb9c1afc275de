# SPDX-License-Identifier: BSD-2-Clause
"""Tests on a device: an NVIDIA GPU or, with CLARIVID_GPU_EMULATED, the CPU emulator with small pictures.

Each test here carries the marker ``gpu``. Without a device it is skipped, under tools/gpu_check.sh
(CLARIVID_GPU_REQUIRED) it fails. What a test measures on the way, such as the largest error, goes into the
JUnit file as properties.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarivid.cuda import Device
from clarivid.errors import BackendError

EMULATED = bool(os.environ.get("CLARIVID_GPU_EMULATED"))
REQUIRED = EMULATED or bool(os.environ.get("CLARIVID_GPU_REQUIRED"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The marker, for all tests of this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device() -> Iterator[Device]:
    """The first GPU."""
    try:
        found = Device()
    except BackendError as error:
        if REQUIRED:
            pytest.fail(f"a device is required here: {error}")
        pytest.skip(f"no device: {error}")
    yield found
    found.close()


@pytest.fixture
def real(device: Device) -> Device:
    """The first GPU; the test is left out on the emulator, which is too slow or has not what it needs."""
    if EMULATED:
        pytest.skip("needs a GPU: the emulator is too slow, or has not what this uses")
    return device
