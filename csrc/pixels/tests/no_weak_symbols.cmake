# SPDX-License-Identifier: BSD-2-Clause
# Fails when an object that was compiled for newer instructions defines anything that the linker may choose for
# everybody (an inline function, a template): older machines would die of it.
#   cmake -DNM=nm -DOBJECTS=a.o,b.o -P no_weak_symbols.cmake
string(REPLACE "," ";" objects "${OBJECTS}")
foreach(object IN LISTS objects)
  if(NOT object MATCHES "avx")
    continue()
  endif()
  execute_process(COMMAND ${NM} --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [uvVwW] [^\n]*" weak "${symbols}")
  # The one thing that is meant to be seen is the table; functions with external linkage have no place here.
  string(REGEX MATCHALL "[^\n]* T [^\n]*" functions "${symbols}")
  if(weak OR functions)
    message(FATAL_ERROR "${object} must have internal linkage only, but defines: ${weak} ${functions}")
  endif()
  message(STATUS "${object}: internal linkage only")
endforeach()
