# SPDX-License-Identifier: BSD-2-Clause
"""Training data made from pictures in distribution packages.

``sources``     which pictures, from which packages, under which licences
``sr_sources``  the same for super-resolution, by kind, and more of them
``synth``       colour, halving, coding, stills with sprites and text
``motion``      smooth continuous deformation of a still
``noise``       a sensor's noise
``screen``      drawn windows, text and charts
``ladder``      encoders at the rates of real ladders, and what is wrong with sources
``sr_clips``    a clip of all these at full size, and its coded half-size twin
``sr_build``    which clips, cut where
``pack``        aligned crops of such clips in one compressed file
``lowrank``     coded clips for the prefilter, and their pack
``inpaint``     tiles for the painter, and their pack
``silhouette``  its holes
``parts``       long jobs that can be interrupted
"""
