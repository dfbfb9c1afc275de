# SPDX-License-Identifier: BSD-2-Clause
"""Frames of files: read, written, and pulled through a chain of filters."""

from __future__ import annotations

from clarivid.chain_frames import ChainFrames, chain_frames
from clarivid.video_read import VideoReader, read_frames
from clarivid.video_write import write_frames

__all__ = ["ChainFrames", "VideoReader", "chain_frames", "read_frames", "write_frames"]
