# SPDX-License-Identifier: BSD-2-Clause
"""Engines: nets compiled for one kind of GPU by one release of a runtime, and the cache that holds them.

>>> from clarivid.engines import EngineCache, Options, Runtime, build, plan, targets
>>> runtime = Runtime("tensorrt-rtx")
>>> jobs = plan([model], targets.devices("t4,l4"), lambda m: targets.profiles("720p,1080p", m), "fp16",
...             runtime, Options())
>>> for made in build(jobs, runtime, Options(), EngineCache()):
...     print(made.entry.path)
"""

from clarivid.engines import targets
from clarivid.engines.build import PRECISIONS, Job, Made, build, plan
from clarivid.engines.cache import EngineCache, Entry, Fault
from clarivid.engines.key import Identity, Key, Profile
from clarivid.engines.runtimes import RUNTIMES, Options, Runtime, installed

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "EngineCache",
    "Entry",
    "Fault",
    "Identity",
    "Job",
    "Key",
    "Made",
    "Options",
    "Profile",
    "Runtime",
    "build",
    "installed",
    "plan",
    "targets",
]
