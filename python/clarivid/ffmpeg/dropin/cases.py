# SPDX-License-Identifier: BSD-2-Clause
"""Graphs that are run through the stock libavfilter and through ours: the same frames have to come out.

Each family of filters is there with one or a few; sources lie in the graph itself. What a graph needs
that the stock ffmpeg does not have is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_VIDEO = "testsrc2=s=192x144:r=25:d=0.4,format=yuv420p"
_OTHER = "mandelbrot=s=96x72:r=25,trim=end_frame=10,format=yuva420p"
_SAME = "rgbtestsrc=s=192x144:r=25:d=0.4,format=yuv420p"
_SOUND = "sine=f=440:r=44100:d=0.4,aformat=channel_layouts=stereo"
_NOISE = "anoisesrc=r=44100:d=0.4:seed=7:a=0.3"

# One filter each, or a chain of some, over moving pictures. {subtitles} is a file.
_PICTURES = (
    "scale=320:200:flags=lanczos",
    "format=yuv420p10le,scale=100:80:flags=bicubic",
    "format=rgb24,scale=64:48:flags=area",
    "hue=h=40:s=1.2",
    "eq=contrast=1.2:gamma=0.9",
    "curves=preset=vintage",
    "colorbalance=rs=0.2",
    "colorspace=all=bt709:iall=bt601-6-625",
    "lutyuv=y=negval",
    "geq=lum='p(X,Y)/2':cb=128:cr=128",
    "nlmeans=s=3:p=5:r=9",
    "hqdn3d",
    "atadenoise",
    "vaguedenoiser",
    "fftdnoiz",
    "owdenoise",
    "dctdnoiz=s=8",
    "unsharp=5:5:1",
    "gblur=sigma=2",
    "bilateral",
    "smartblur",
    "cas=0.5",
    "deband",
    "noise=alls=10:allf=t:all_seed=7",
    "convolution=0 -1 0 -1 5 -1 0 -1 0",
    "edgedetect",
    "sobel",
    "median=2",
    "removegrain=m0=4",
    "fftfilt=dc_Y=0:weight_Y='1+squish(1-(Y+X)/50)'",
    "yadif",
    "bwdif",
    "w3fdif",
    "kerndeint",
    "estdif",
    "telecine,fieldmatch,decimate",
    "tinterlace=mode=interleave_top",
    "separatefields,weave",
    "idet,metadata=mode=print:file=/dev/null",
    "pp=ac",
    "spp=quality=2",
    "fspp=quality=4",
    "crop=100:80:8:6",
    "pad=256:256:10:10:red",
    "transpose=1",
    "rotate=PI/7",
    "perspective=10:0:180:8:0:140:190:143",
    "lenscorrection=k1=-0.2:k2=0.1",
    "v360=e:c3x2",
    "zoompan=z=1.2:d=1:s=128x96",
    "deshake",
    "minterpolate=fps=50",
    "framerate=fps=30",
    "fps=12",
    "setpts=0.5*PTS,tpad=stop=3",
    "drawbox=x=10:y=10:w=50:h=40:color=red@0.5:t=fill",
    "drawgrid=w=16:h=16",
    "drawtext=text='clarivid %{n}':x=5:y=5:fontsize=24:fontcolor=white",
    "subtitles=filename={subtitles}",
    "zscale=w=300:h=200:filter=lanczos",
    "zscale=matrix=709:matrixin=170m:rangein=limited:range=full",
    "format=gbrpf32le,tonemap=hable,format=yuv420p",
    "split[a][b];[a]palettegen[p];[b][p]paletteuse",
    "split[a][b];[b]hflip[c];[a][c]hstack",
    "thumbnail=5",
    "tile=2x2",
    "tmix=frames=3",
    "vignette",
    "deflicker",
    "histogram",
    "waveform",
    "signalstats,metadata=mode=print:file=/dev/null",
    "cropdetect=round=2,scdet",
)

_SOUNDS = (
    "aresample=48000",
    "aresample=22050,aformat=sample_fmts=s16",
    "volume=0.5",
    "loudnorm",
    "dynaudnorm",
    "acompressor",
    "compand",
    "equalizer=f=1000:t=q:w=1:g=6",
    "highpass=f=200,lowpass=f=3000",
    "anequalizer=c0 f=200 w=100 g=-5",
    "superequalizer",
    "afftdn",
    "atempo=1.25",
    "rubberband=tempo=1.25",
    "aecho",
    "chorus=0.5:0.9:50:0.4:0.25:2",
    "aphaser",
    "pan=mono|c0=0.5*c0+0.5*c1",
    "stereotools",
    "bs2b",
    "surround",
    "astats,ametadata=mode=print:file=/dev/null",
    "silencedetect,silenceremove=1",
    "showwaves=s=160x90",
    "showspectrum=s=160x90",
    "showcqt=s=192x108:r=25",
    "ebur128",
)

_WHOLE = (
    f"{_VIDEO}[a];{_OTHER}[b];[a][b]overlay=20:10",
    f"{_VIDEO}[a];{_SAME}[b];[a][b]blend=all_mode=overlay",
    f"{_VIDEO}[a];{_SAME}[b];[a][b]xfade=duration=0.2:offset=0.1",
    f"{_VIDEO}[a];{_SAME}[b];[a][b]ssim=stats_file=/dev/null",
    f"{_VIDEO}[a];{_SAME}[b];[a][b]psnr=stats_file=/dev/null",
    f"{_VIDEO},split=3[a][b][c];[b]negate[d];[a][d][c]maskedmerge",
    f"{_VIDEO}[a];haldclutsrc=4,trim=end_frame=1[b];[a][b]haldclut",
    f"{_SOUND}[a];{_NOISE}[b];[a][b]amix",
    f"{_SOUND}[a];{_NOISE}[b];[a][b]amerge",
    f"{_SOUND}[a];{_NOISE}[b];[a][b]sidechaincompress",
    "flite=text='the same voice',atrim=end=0.5",
    "movie=filename={clip},scale=96:72",
    "amovie=filename={clip},aresample=32000",
    "life=s=64x48:r=25:seed=3,trim=end_frame=8",
    "smptehdbars=s=128x96:d=0.2",
    "cellauto=s=64x48:seed=5,trim=end_frame=4",
)


@dataclass(frozen=True)
class Case:
    """One graph; ``filters`` are the names it needs, ``shown`` the part of it that is meant."""

    shown: str
    graph: str
    filters: frozenset[str]


def cases(has: Iterable[str]) -> list[Case]:
    """The graphs that an ffmpeg with these filters can be given."""
    rows = [(words, f"{_VIDEO},{words}") for words in _PICTURES]
    rows += [(words, f"{_SOUND},{words}") for words in _SOUNDS]
    rows += [(words, words) for words in _WHOLE]
    known = set(has)
    return [case for case in (Case(s, f"{g}[out]", _names(g)) for s, g in rows) if case.filters <= known]


def _names(graph: str) -> frozenset[str]:
    """The filters of one of the graphs above."""
    names = set()
    quoted = bracketed = False
    word = ""
    for sign in graph + ",":
        if sign == "'":
            quoted = not quoted
        elif not quoted and sign in "[]":
            bracketed = sign == "["
        elif not quoted and not bracketed and sign in ",;":
            names.add(word.strip().partition("=")[0])
            word = ""
        elif not bracketed:
            word += sign
    return frozenset(names)


__all__ = ["Case", "cases"]
