# SPDX-License-Identifier: BSD-2-Clause
"""Training data made from pictures in distribution packages.

``sources``  which pictures, from which packages, under which licences
``synth``    a picture becomes a short clip with a coded half-size twin
``pack``     aligned crops of such clips in one compressed file
``motion``   smooth continuous deformation of a still
``noise``    a sensor's noise
``screen``   drawn windows, text and charts
``lowrank``  coded clips of all these for the prefilter, and their pack
``parts``    long jobs that can be interrupted
"""
