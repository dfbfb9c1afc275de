# SPDX-License-Identifier: BSD-2-Clause
"""``python -m clarivid`` is the ``clarivid`` command."""

from clarivid.cli import main

if __name__ == "__main__":
    main()
