# SPDX-License-Identifier: BSD-2-Clause
# Finds nvcc and defines clarivid_cuda_kernels(). CUDA is no language of this project: CMake would ask for a CUDA
# runtime, which we do not use, and would compile a program for it.
#
#   CUDACXX, CLARIVID_NVCC        the nvcc to take; else that of the PyPI wheels beside the Python at hand
#                                 (nvidia/cu13), else the PATH's, else /usr/local/cuda/bin/nvcc
#   CLARIVID_CUDA_ARCHITECTURES   "all", or a list of numbers: 90 alone compiles in a seventh of the time

set(CLARIVID_CUDA_ARCHITECTURES "all" CACHE STRING "compute capabilities to compile kernels for: all, or a list like 80;90")
set(CLARIVID_NVCC "" CACHE FILEPATH "nvcc to compile CUDA kernels with; empty looks for one")

# clarivid_nvcc_of(PATH): sets nvcc_program, nvcc_version, nvcc_include, empty when PATH does not run.
function(clarivid_nvcc_of path)
  set(nvcc_program "" PARENT_SCOPE)
  # A wrapper (Debian has some) is not what ccache should know the compiler by.
  execute_process(COMMAND ${path} --dryrun -x cu -c empty.cu -o empty.o
    RESULT_VARIABLE failed OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(failed OR NOT text MATCHES "_HERE_=([^\n]+)\n")
    return()
  endif()
  set(program ${CMAKE_MATCH_1}/nvcc)
  execute_process(COMMAND ${program} --version RESULT_VARIABLE failed OUTPUT_VARIABLE version)
  if(failed OR NOT version MATCHES "release ([0-9]+\\.[0-9]+)")
    return()
  endif()
  set(nvcc_version ${CMAKE_MATCH_1} PARENT_SCOPE)
  if(NOT text MATCHES "INCLUDES=\"-I([^\"]+)\"")
    return()
  endif()
  get_filename_component(include ${CMAKE_MATCH_1} REALPATH)
  set(nvcc_include ${include} PARENT_SCOPE)
  set(nvcc_program ${program} PARENT_SCOPE)
endfunction()

set(nvcc_candidates "")
if(CLARIVID_NVCC)
  list(APPEND nvcc_candidates ${CLARIVID_NVCC})
elseif(DEFINED ENV{CUDACXX})
  list(APPEND nvcc_candidates $ENV{CUDACXX})
else()
  find_package(Python QUIET COMPONENTS Interpreter)
  if(Python_FOUND)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c
              "import importlib.util as u; print(u.find_spec('nvidia.cu13').submodule_search_locations[0])"
      OUTPUT_VARIABLE wheels OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(wheels AND EXISTS ${wheels}/bin/nvcc)
      list(APPEND nvcc_candidates ${wheels}/bin/nvcc)
    endif()
  endif()
  find_program(nvcc_in_path nvcc NO_CACHE HINTS ENV PATH PATHS /usr/local/cuda/bin)
  if(nvcc_in_path)
    list(APPEND nvcc_candidates ${nvcc_in_path})
  endif()
endif()
set(nvcc_refused "")
foreach(candidate IN LISTS nvcc_candidates)
  clarivid_nvcc_of(${candidate})
  if(NOT nvcc_program)
    string(APPEND nvcc_refused " ${candidate} does not run.")
  elseif(nvcc_version VERSION_LESS 13.0)
    string(APPEND nvcc_refused " ${candidate} is of CUDA ${nvcc_version}.")
    set(nvcc_program "")
  elseif(NOT EXISTS ${nvcc_include}/cuda.h OR NOT EXISTS ${nvcc_include}/cuda_fp16.h)
    string(APPEND nvcc_refused " ${candidate} comes without cuda.h (${nvcc_include}).")
    set(nvcc_program "")
  else()
    break()
  endif()
endforeach()
if(NOT nvcc_program)
  message(FATAL_ERROR "nvcc 13.0 or newer was not found.${nvcc_refused} Install the CUDA toolkit, or "
    "`pip install nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 "
    "nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85`; CUDACXX=<path of nvcc> names one; "
    "-DCLARIVID_CUDA=OFF builds without CUDA.")
endif()
message(STATUS "nvcc ${nvcc_version}: ${nvcc_program}")

# Machine code for what it names and, with "all", PTX of the oldest and of a recent one for what comes later: code for
# 8.0, 10.0 and 12.0 serves all of their generation as well, that for 9.0 no other. One pass of the compiler serves
# several: half of the time goes into these passes, and no source of ours knows more than 7.5, 8.0 and 9.0 apart.
# Source lines (for compute-sanitizer and profilers) make the code three times as large: not with "all".
set(clarivid_nvcc_flags -std=c++20 -O3)
if(CLARIVID_CUDA_ARCHITECTURES STREQUAL "all")
  list(APPEND clarivid_nvcc_flags --threads 2 --compress-mode=size
    -gencode arch=compute_75,code=[sm_75,compute_75]
    -gencode arch=compute_80,code=[sm_80,sm_86,sm_89]
    -gencode arch=compute_90,code=[sm_90,sm_100,sm_120,compute_90])
else()
  list(APPEND clarivid_nvcc_flags -lineinfo --threads 2 --compress-mode=size)
  foreach(architecture IN LISTS CLARIVID_CUDA_ARCHITECTURES)
    list(APPEND clarivid_nvcc_flags -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
endif()
if(CLARIVID_WERROR)
  list(APPEND clarivid_nvcc_flags -Werror all-warnings)
endif()

enable_language(ASM)
set(nvcc_launcher "")
if(CCACHE)
  set(nvcc_launcher ${CCACHE})
endif()

# clarivid_cuda_kernels(TARGET SOURCE.cu... [NVCC_FLAGS FLAG...] [EMULATOR_FLAGS FLAG...])
# Compiles each source into a fatbin that TARGET embeds, where CLV_CUDA_IMAGE(SOURCE) and cuda::Module find it
# (driver.h), and, with the tests, into the emulator. Flags are for these sources only; a call a source where they
# differ. nvcc fuses multiplications and additions; NVCC_FLAGS -fmad=false gives what the emulator gives.
# Names of sources are unique in the project, as those of kernels are. A source may go into several targets: the
# first call compiles it.
function(clarivid_cuda_kernels target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "NVCC_FLAGS;EMULATOR_FLAGS")
  foreach(source IN LISTS arg_UNPARSED_ARGUMENTS)
    get_filename_component(path ${source} ABSOLUTE)
    get_filename_component(name ${source} NAME_WE)
    set(fatbin ${CMAKE_CURRENT_BINARY_DIR}/${name}.fatbin)
    set(assembly ${CMAKE_CURRENT_BINARY_DIR}/${name}_image.S)
    file(RELATIVE_PATH shown ${CMAKE_SOURCE_DIR} ${path})
    get_property(known GLOBAL PROPERTY clarivid_cuda_image_${name})
    if(known)
      list(GET known 0 known_path)
      list(GET known 1 assembly)
      if(NOT known_path STREQUAL path)
        message(FATAL_ERROR "two CUDA sources are called ${name}: ${known_path} and ${path}")
      endif()
      list(GET known 2 fatbin)
      set_source_files_properties(${assembly} PROPERTIES OBJECT_DEPENDS ${fatbin})
      target_sources(${target} PRIVATE ${assembly})
      continue()
    endif()
    set_property(GLOBAL PROPERTY clarivid_cuda_image_${name} "${path};${assembly};${fatbin}")
    # -c makes nothing different but the call cacheable: ccache takes it for what it knows.
    add_custom_command(OUTPUT ${fatbin}
      COMMAND ${nvcc_launcher} ${nvcc_program} -c -fatbin ${clarivid_nvcc_flags} ${arg_NVCC_FLAGS}
              -I ${CMAKE_SOURCE_DIR}/csrc -I ${CMAKE_SOURCE_DIR}/csrc/include
              -MD -MF ${fatbin}.d -MT ${fatbin} -o ${fatbin} ${path}
      DEPENDS ${path} DEPFILE ${fatbin}.d VERBATIM
      COMMENT "nvcc ${shown}")
    # The name behind the data lets the emulator tell one image from another.
    file(CONFIGURE OUTPUT ${assembly} @ONLY CONTENT [[
    .section .rodata
    .balign 64
    .globl clv_image_data_@name@
    .hidden clv_image_data_@name@
    .type clv_image_data_@name@, @object
clv_image_data_@name@:
    .incbin "@fatbin@"
    .asciz "clarivid-image:@name@"
    .size clv_image_data_@name@, . - clv_image_data_@name@
    .section .note.GNU-stack, "", @progbits
]])
    set_source_files_properties(${assembly} PROPERTIES OBJECT_DEPENDS ${fatbin})
    target_sources(${target} PRIVATE ${assembly})
    if(CLARIVID_BUILD_TESTS)
      target_sources(clarivid_cuda_emulator PRIVATE ${path})
      set_source_files_properties(${path} TARGET_DIRECTORY clarivid_cuda_emulator
        PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-Wno-unknown-pragmas;${arg_EMULATOR_FLAGS}")
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE clarivid_cuda_driver)
endfunction()

# clarivid_cuda_test(NAME SOURCE...): a program that knows the driver API only. ctest runs it on the emulator;
# started by hand on a machine with a GPU it runs there.
function(clarivid_cuda_test name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE clarivid_cuda_driver Threads::Threads)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wshadow -Wconversion)
  add_dependencies(${name} clarivid_cuda_emulator)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "LD_LIBRARY_PATH=${CLARIVID_CUDA_EMULATOR_DIR}")
endfunction()
