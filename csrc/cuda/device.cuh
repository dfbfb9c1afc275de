// SPDX-License-Identifier: BSD-2-Clause
// What a kernel includes. The same source compiles in two ways:
//   nvcc     into a fatbin that a library of ours embeds (CMake: clarivid_cuda_kernels());
//   g++      into the emulator (cuda/emulator), a libcuda.so.1 that runs kernels on the CPU, for tests.
//
// A kernel takes one plain struct, which lies in a .h shared with the code that launches it; its pointers are
// device pointers:
//
//   CLV_KERNEL(clv_scale, ScaleParams, 256, 1) // name, struct, threads of a block at most, blocks of an SM
//   {
//       const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
//       if (i < p.count)
//           p.to[i] = p.from[i] * p.by;
//   }
//
// Both ways know: threadIdx, blockIdx, blockDim, gridDim; the collectives below (for all threads of a block,
// or all lanes that the mask names); atomics on 32 bits; the types of vector_types.h; __half and __half2;
// min, max and the functions of math.h. Not there: static __shared__, __constant__, variables in device
// memory, textures, cooperative grids, waiting for another block.
//
// nvcc fuses a multiplication and an addition into one fma where it can, g++ for x86-64 never does: what must
// be the same to the last bit says fmaf() itself, or is compiled with NVCC_FLAGS -fmad=false.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <cuda_fp16.h>

namespace clv::cuda {

/// A launch copies its parameters: 4 KiB is what every architecture takes.
inline constexpr size_t kMaxParams = 4096;

} // namespace clv::cuda

#define CLV_CHECK_PARAMS(Params)                                                                             \
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= ::clv::cuda::kMaxParams,         \
                  "a kernel takes one plain struct of at most 4 KiB")

#ifdef __CUDACC__

/// A function of the device; always inlined.
#define CLV_DEVICE __device__ __forceinline__
/// A function of both sides.
#define CLV_HOST_DEVICE __host__ __device__ __forceinline__

#define CLV_KERNEL(name, Params, threads, blocks)                                                            \
    CLV_CHECK_PARAMS(Params);                                                                                \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Params p)

namespace clv::cuda {

/// The shared memory that the launch asked for, aligned to 1024 bytes.
CLV_DEVICE unsigned char *dynamic_shared() {
    extern __shared__ __align__(1024) unsigned char clv_dynamic_shared[];
    return clv_dynamic_shared;
}

} // namespace clv::cuda

#else
#include "cuda/emulator/device.h"
#endif
