# SPDX-License-Identifier: BSD-2-Clause
"""Engines: nets compiled for one kind of GPU by one release of a runtime, and the cache that holds them.

>>> from clarivid.engines import EngineCache, Made, Options, Runtime, build, plan, targets
>>> runtime = Runtime("tensorrt-rtx")
>>> jobs = plan([model], targets.devices("t4,l4"), lambda m: targets.profiles("720p,1080p", m), "fp16",
...             runtime, Options())
>>> for made in build(jobs, runtime, Options(), EngineCache()):
...     print(made.entry.path if isinstance(made, Made) else made.problem)
"""

from clarivid.engines import targets
from clarivid.engines.build import PRECISIONS, Failed, Job, Made, build, plan
from clarivid.engines.cache import EngineCache, Entry, Fault
from clarivid.engines.key import Identity, Key, Profile
from clarivid.engines.runtimes import RUNTIMES, Options, Runtime, installed

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "EngineCache",
    "Entry",
    "Failed",
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
