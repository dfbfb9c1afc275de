# SPDX-License-Identifier: BSD-2-Clause
"""What our FFmpeg is configured with: one table a kind of component.

The usual build holds what a transcode of coded video, our tests and our demo need, and compiles in about
two minutes. The full build holds everything FFmpeg has of its own. Both decode, filter and encode on NVIDIA's
GPUs where the driver is there. Neither is nonfree.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["transcode", "full", "checks"]
"""Which of FFmpeg's own components a build has: what a transcode needs, all, or what our tests of another
series need."""

DEBIAN_PACKAGES: tuple[str, ...] = (
    "gcc",
    "make",
    "nasm",
    "patch",
    "pkg-config",
    "xz-utils",
    "libx264-dev",
    "libx265-dev",
    "libzimg-dev",
    "zlib1g-dev",
)
"""The Debian packages a build needs; ccache is used when present."""

TOOLS: tuple[str, ...] = ("gcc", "make", "nasm", "patch", "pkg-config")
"""The programs a build calls."""

BARE_TOOLS: tuple[str, ...] = ("gcc", "make", "patch")
"""The programs that a build calls which is told to use nothing else."""

PKG_CONFIG_MODULES: tuple[str, ...] = ("x264", "x265", "zimg", "zlib")
"""The external libraries, by their pkg-config names; a bare build has none of them."""

_COMPONENTS: dict[str, str] = {
    "decoder": (
        "aac ac3 av1 ffv1 flac h264 hevc huffyuv mjpeg mp3 mpeg1video mpeg2video mpeg4 pcm_f32le pcm_s16le "
        "png rawvideo utvideo vp8 vp9 wrapped_avframe "
        "av1_cuvid h264_cuvid hevc_cuvid mpeg2_cuvid vp9_cuvid"
    ),
    "hwaccel": "av1_nvdec h264_nvdec hevc_nvdec mpeg2_nvdec vp9_nvdec",
    "encoder": (
        "aac ffv1 flac huffyuv libx264 libx264rgb libx265 mjpeg mpeg2video mpeg4 pcm_f32le pcm_s16le "
        "png rawvideo utvideo wrapped_avframe "
        "av1_nvenc h264_nvenc hevc_nvenc"
    ),
    "parser": "aac ac3 av1 flac h264 hevc mjpeg mpeg4video mpegaudio mpegvideo png vp8 vp9",
    "demuxer": (
        "aac avi concat flac flv framehash h264 hevc hls image2 image2pipe image_jpeg_pipe image_png_pipe "
        "ivf matroska mjpeg mov mp3 mpegps mpegts mpegvideo m4v nut rawvideo wav yuv4mpegpipe"
    ),
    "muxer": (
        "avi crc flac flv framecrc framehash framemd5 h264 hash hevc hls image2 image2pipe ivf matroska md5 "
        "mjpeg mov mp4 mpegts mpeg2video null nut rawvideo segment tee wav webm yuv4mpegpipe"
    ),
    "protocol": "concat data fd file pipe subfile",
    "bsf": (
        "aac_adtstoasc extract_extradata filter_units h264_metadata h264_mp4toannexb hevc_metadata "
        "hevc_mp4toannexb mpeg2_metadata noise null setts vp9_superframe_split"
    ),
    "indev": "lavfi",
    "filter": (
        # plumbing and time
        "addroi aformat anull anullsink aresample aselect asetpts asidedata asplit atrim concat copy "
        "fieldorder format fps framerate framestep freezedetect interleave loop metadata noformat null "
        "nullsink perms realtime reverse select sendcmd setdar setfield setparams setpts setrange "
        "setsar settb showinfo sidedata split streamselect tpad trim "
        # to and from a GPU
        "hwdownload hwmap hwupload hwupload_cuda "
        # geometry and composition
        "blend crop cropdetect drawbox drawgrid extractplanes fillborders hflip hstack mergeplanes "
        "overlay pad scale scale2ref shuffleplanes tile transpose untile vflip vstack xstack zoompan "
        "zscale "
        # pictures
        "bilateral boxblur bwdif cas colorspace convolution curves deband eq fade gblur geq hqdn3d hue "
        "il interlace limiter lut lutrgb lutyuv lut2 negate nlmeans noise separatefields tblend "
        "tinterlace tmix unsharp weave yadif "
        # masks
        "alphaextract alphamerge delogo dilation erosion lumakey maskedmerge threshold "
        # measures
        "bitplanenoise blackdetect entropy identity msad psnr scdet signalstats siti ssim thumbnail "
        "vmafmotion xpsnr "
        # sources
        "allyuv amovie anullsrc cellauto color colorchart gradients life mandelbrot movie nullsrc "
        "rgbtestsrc sierpinski sine smptebars smptehdbars testsrc testsrc2 yuvtestsrc zoneplate"
    ),
}

# Instead of those above in a build for checks: H.264 and raw video, with all of the filters. H.264's decoder
# exports motion vectors where there is one for MPEG, too.
_CHECKS: dict[str, str] = {
    "decoder": "ffv1 h264 mpeg1video pcm_s16le png rawvideo wrapped_avframe",
    "hwaccel": "h264_nvdec",
    "encoder": "ffv1 libx264 pcm_s16le png rawvideo wrapped_avframe h264_nvenc",
    "parser": "h264 png",
    "demuxer": "h264 image2 image2pipe image_png_pipe matroska mov nut rawvideo yuv4mpegpipe",
    "muxer": "framecrc framehash framemd5 h264 image2 matroska md5 mov mp4 null nut rawvideo yuv4mpegpipe",
    "bsf": "extract_extradata h264_metadata h264_mp4toannexb noise null setts",
}

# libclarivid.so lies in ../lib as seen from the program, wherever the folder is. The linker has to see
# $ORIGIN: configure's eval takes one level of quoting off, make turns $$ into $, make's shell takes off the
# last one.
_RUNPATH = r"-Wl,--enable-new-dtags,-rpath,\\\$\$ORIGIN/../lib"

OUR_FILTERS: tuple[str, ...] = ("dnn_sr", "lowrank_pre", "mesh_inpaint")
"""The filters that filters/ adds."""


def configure_flags(kind: Kind, bare: bool = False) -> list[str]:
    """The options of FFmpeg's configure, but for the paths.

    Args:
        kind: which components.
        bare: no external library but ours, and no assembler: for machines that have none.

    Returns:
        The options, in a fixed order: they are part of the build's key.
    """
    flags = ["--disable-autodetect", "--disable-doc", "--disable-debug", "--disable-ffplay"]
    if kind != "full":
        flags += ["--disable-everything", "--disable-network"]
        for component, names in {**_COMPONENTS, **(_CHECKS if kind == "checks" else {})}.items():
            flags.append(f"--enable-{component}=" + ",".join(names.split()))
        flags.append("--enable-filter=" + ",".join(OUR_FILTERS))
    flags += ["--enable-gpl"]
    if bare:
        flags += ["--disable-x86asm"]
    else:
        flags += [f"--enable-{name}" for name in ("libx264", "libx265", "libzimg", "zlib")]
    flags += ["--enable-ffnvcodec", "--enable-cuda", "--enable-cuvid", "--enable-nvdec", "--enable-nvenc"]
    flags += ["--enable-libclarivid", f"--extra-ldexeflags={_RUNPATH}"]
    return flags
