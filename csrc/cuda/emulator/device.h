// SPDX-License-Identifier: BSD-2-Clause
// The part of CUDA C++ that kernels may use, for g++: every thread of a block is a fiber (block.h), which
// runs until it meets others at a collective. Only cuda/device.cuh includes this.
// NOLINTBEGIN: the names and signatures are CUDA's.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <vector_functions.h>
#include <vector_types.h>

#include "cuda/emulator/device_state.h"

// host_defines.h makes these attributes that g++ does not know.
#undef __device__
#undef __host__
#undef __global__
#undef __forceinline__
#define __device__
#define __host__
#define __forceinline__ inline
#define CLV_DEVICE inline
#define CLV_HOST_DEVICE inline

/// The caller's line, for the sentences that tell what a thread waits at.
#define CLV_EMULATOR_WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace clv::cuda::emulator {

/// Waits for all living threads of the block; counts those that gave true.
int barrier(const char *what, bool predicate, const char *file, int line);
/// Waits until `threads` threads of the block are at barrier `id`.
void named_barrier(int id, int threads, const char *file, int line);

enum class Shuffle { index, up, down, exclusive_or };
uint32_t shuffle(const char *what, Shuffle kind, uint32_t mask, uint32_t value, int operand, int width,
                 const char *file, int line);
uint32_t ballot(const char *what, uint32_t mask, bool predicate, const char *file, int line);
void warp_barrier(uint32_t mask, const char *file, int line);

void load_matrices(const char *what, uint32_t *r, const void *row, int count, bool transposed,
                   const char *file, int line);
void multiply(const char *what, float *d, const uint32_t *a, const uint32_t *b, int depth, const char *file,
              int line);
void copy_async(const char *what, void *shared, const void *global, int bytes, bool valid, const char *file,
                int line);
void copy_commit();
void copy_wait(int groups);

template <class To, class From>
inline To bits(From value) {
    static_assert(sizeof(To) == 4 && sizeof(From) == 4, "a shuffle moves 32 bits");
    To out;
    std::memcpy(static_cast<void *>(&out), &value, 4);
    return out;
}

} // namespace clv::cuda::emulator

#define CLV_KERNEL(name, Params, threads, blocks)                                                            \
    CLV_CHECK_PARAMS(Params);                                                                                \
    static_assert((threads) >= 1 && (threads) <= 1024 && (blocks) >= 1);                                     \
    static void name##_body(const Params &p);                                                                \
    static const ::clv::cuda::emulator::Kernel name##_kernel(                                                \
        #name, [](const void *params) { name##_body(*static_cast<const Params *>(params)); },                \
        sizeof(Params), threads, blocks, __FILE__);                                                          \
    static void name##_body([[maybe_unused]] const Params &p)

#define threadIdx (::clv::cuda::emulator::state.thread)
#define blockIdx (::clv::cuda::emulator::state.block)
#define blockDim (::clv::cuda::emulator::state.block_dim)
#define gridDim (::clv::cuda::emulator::state.grid_dim)

namespace clv::cuda {

inline unsigned char *dynamic_shared() {
    return emulator::state.shared;
}

} // namespace clv::cuda

inline constexpr int warpSize = 32;

// --- Collectives. ---

inline void __syncthreads(CLV_EMULATOR_WHERE) {
    clv::cuda::emulator::barrier("__syncthreads", false, file, line);
}
inline int __syncthreads_count(int predicate, CLV_EMULATOR_WHERE) {
    return clv::cuda::emulator::barrier("__syncthreads_count", predicate != 0, file, line);
}
inline int __syncthreads_or(int predicate, CLV_EMULATOR_WHERE) {
    return clv::cuda::emulator::barrier("__syncthreads_or", predicate != 0, file, line) > 0;
}
inline int __syncthreads_and(int predicate, CLV_EMULATOR_WHERE) {
    return clv::cuda::emulator::barrier("__syncthreads_and", predicate == 0, file, line) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffff, CLV_EMULATOR_WHERE) {
    clv::cuda::emulator::warp_barrier(mask, file, line);
}

#define CLV_EMULATOR_SHUFFLE(name, kind, type)                                                               \
    template <class T>                                                                                       \
    inline T name(unsigned mask, T value, type operand, int width = warpSize, CLV_EMULATOR_WHERE) {          \
        using namespace clv::cuda::emulator;                                                                 \
        return bits<T>(shuffle(#name, Shuffle::kind, mask, bits<uint32_t>(value), static_cast<int>(operand), \
                               width, file, line));                                                          \
    }
CLV_EMULATOR_SHUFFLE(__shfl_sync, index, int)
CLV_EMULATOR_SHUFFLE(__shfl_up_sync, up, unsigned)
CLV_EMULATOR_SHUFFLE(__shfl_down_sync, down, unsigned)
CLV_EMULATOR_SHUFFLE(__shfl_xor_sync, exclusive_or, int)
#undef CLV_EMULATOR_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, CLV_EMULATOR_WHERE) {
    return clv::cuda::emulator::ballot("__ballot_sync", mask, predicate != 0, file, line);
}
inline int __any_sync(unsigned mask, int predicate, CLV_EMULATOR_WHERE) {
    return clv::cuda::emulator::ballot("__any_sync", mask, predicate != 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CLV_EMULATOR_WHERE) {
    return clv::cuda::emulator::ballot("__all_sync", mask, predicate == 0, file, line) == 0;
}

// --- Memory. Fibers of one thread: nothing comes between the parts of an atomic operation. ---

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

template <class T>
inline T __ldg(const T *p) {
    return *p;
}
template <class T>
inline T __ldcg(const T *p) {
    return *p;
}
template <class T>
inline T __ldcs(const T *p) {
    return *p;
}
template <class T>
inline void __stcg(T *p, T value) {
    *p = value;
}
template <class T>
inline void __stcs(T *p, T value) {
    *p = value;
}

namespace clv::cuda::emulator {
template <class T, class Change>
inline T atomic(T *p, Change change) {
    const T old = *p;
    *p = change(old);
    return old;
}
} // namespace clv::cuda::emulator

#define CLV_EMULATOR_ATOMIC(name, T, expression)                                                             \
    inline T name(T *p, T value) {                                                                           \
        return clv::cuda::emulator::atomic(p, [value]([[maybe_unused]] T old) -> T { return expression; });  \
    }
CLV_EMULATOR_ATOMIC(atomicAdd, int,
                    static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)))
CLV_EMULATOR_ATOMIC(atomicAdd, unsigned, old + value)
CLV_EMULATOR_ATOMIC(atomicAdd, unsigned long long, old + value)
CLV_EMULATOR_ATOMIC(atomicAdd, float, old + value)
CLV_EMULATOR_ATOMIC(atomicSub, int,
                    static_cast<int>(static_cast<unsigned>(old) - static_cast<unsigned>(value)))
CLV_EMULATOR_ATOMIC(atomicSub, unsigned, old - value)
CLV_EMULATOR_ATOMIC(atomicMax, int, old > value ? old : value)
CLV_EMULATOR_ATOMIC(atomicMax, unsigned, old > value ? old : value)
CLV_EMULATOR_ATOMIC(atomicMax, unsigned long long, old > value ? old : value)
CLV_EMULATOR_ATOMIC(atomicMin, int, old < value ? old : value)
CLV_EMULATOR_ATOMIC(atomicMin, unsigned, old < value ? old : value)
CLV_EMULATOR_ATOMIC(atomicMin, unsigned long long, old < value ? old : value)
CLV_EMULATOR_ATOMIC(atomicExch, int, value)
CLV_EMULATOR_ATOMIC(atomicExch, unsigned, value)
CLV_EMULATOR_ATOMIC(atomicExch, float, value)
CLV_EMULATOR_ATOMIC(atomicAnd, int, old &value)
CLV_EMULATOR_ATOMIC(atomicAnd, unsigned, old &value)
CLV_EMULATOR_ATOMIC(atomicOr, int, old | value)
CLV_EMULATOR_ATOMIC(atomicOr, unsigned, old | value)
CLV_EMULATOR_ATOMIC(atomicXor, unsigned, old ^ value)
#undef CLV_EMULATOR_ATOMIC

template <class T>
inline T atomicCAS(T *p, T compare, T value) {
    return clv::cuda::emulator::atomic(p, [=](T old) { return old == compare ? value : old; });
}

// --- Arithmetic that math.h has not. ---

#define CLV_EMULATOR_MIN_MAX(T, A, B)                                                                        \
    inline T min(A a, B b) {                                                                                 \
        return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);                \
    }                                                                                                        \
    inline T max(A a, B b) {                                                                                 \
        return static_cast<T>(a) > static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);                \
    }
CLV_EMULATOR_MIN_MAX(int, int, int)
CLV_EMULATOR_MIN_MAX(unsigned, unsigned, unsigned)
CLV_EMULATOR_MIN_MAX(unsigned, unsigned, int)
CLV_EMULATOR_MIN_MAX(unsigned, int, unsigned)
CLV_EMULATOR_MIN_MAX(long, long, long)
CLV_EMULATOR_MIN_MAX(unsigned long, unsigned long, unsigned long)
CLV_EMULATOR_MIN_MAX(long long, long long, long long)
CLV_EMULATOR_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef CLV_EMULATOR_MIN_MAX
inline float min(float a, float b) {
    return std::fmin(a, b);
}
inline float max(float a, float b) {
    return std::fmax(a, b);
}
inline double min(double a, double b) {
    return std::fmin(a, b);
}
inline double max(double a, double b) {
    return std::fmax(a, b);
}

inline float rsqrtf(float x) {
    return 1.0F / std::sqrt(x);
}
inline float __frsqrt_rn(float x) {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)));
}
inline float __frcp_rn(float x) {
    return 1.0F / x;
}
inline float __fsqrt_rn(float x) {
    return std::sqrt(x);
}
inline float __fdiv_rn(float a, float b) {
    return a / b;
}
inline float __fdividef(float a, float b) {
    return a / b;
}
inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fsub_rn(float a, float b) {
    return a - b;
}
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fmaf_rn(float a, float b, float c) {
    return std::fma(a, b, c);
}
inline float __saturatef(float x) {
    return x > 0.0F ? (x < 1.0F ? x : 1.0F) : 0.0F;
} // NaN gives 0
// math.h of glibc has names like these, for itself.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)

// From float to integer the device saturates, and NaN gives 0.
namespace clv::cuda::emulator {
inline int to_int(float x) {
    if (!(x == x))
        return 0;
    return x >= 2147483648.0F ? INT32_MAX : x < -2147483648.0F ? INT32_MIN : static_cast<int>(x);
}
inline unsigned to_unsigned(float x) {
    if (!(x > 0.0F))
        return 0;
    return x >= 4294967296.0F ? UINT32_MAX : static_cast<unsigned>(x);
}
} // namespace clv::cuda::emulator
inline int __float2int_rn(float x) {
    return clv::cuda::emulator::to_int(std::nearbyint(x));
}
inline int __float2int_rz(float x) {
    return clv::cuda::emulator::to_int(std::trunc(x));
}
inline int __float2int_rd(float x) {
    return clv::cuda::emulator::to_int(std::floor(x));
}
inline int __float2int_ru(float x) {
    return clv::cuda::emulator::to_int(std::ceil(x));
}
inline unsigned __float2uint_rn(float x) {
    return clv::cuda::emulator::to_unsigned(std::nearbyint(x));
}
inline unsigned __float2uint_rz(float x) {
    return clv::cuda::emulator::to_unsigned(std::trunc(x));
}
inline unsigned __float2uint_rd(float x) {
    return clv::cuda::emulator::to_unsigned(std::floor(x));
}
inline float __int2float_rn(int x) {
    return static_cast<float>(x);
}
inline float __uint2float_rn(unsigned x) {
    return static_cast<float>(x);
}
inline float __int_as_float(int x) {
    return clv::cuda::emulator::bits<float>(x);
}
inline int __float_as_int(float x) {
    return clv::cuda::emulator::bits<int>(x);
}
inline float __uint_as_float(unsigned x) {
    return clv::cuda::emulator::bits<float>(x);
}
inline unsigned __float_as_uint(float x) {
    return clv::cuda::emulator::bits<unsigned>(x);
}

inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x) {
    return __builtin_popcountll(x);
}
inline int __clz(int x) {
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
    return __builtin_ffs(x);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32);
}
inline unsigned __brev(unsigned x) {
    unsigned out = 0;
    for (int i = 0; i < 32; i++)
        out |= (x >> i & 1U) << (31 - i);
    return out;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
    const unsigned long long both = static_cast<unsigned long long>(b) << 32 | a;
    unsigned out = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned which = select >> (4 * i) & 0xF;
        unsigned byte = static_cast<unsigned>(both >> (8 * (which & 7))) & 0xFF;
        if ((which & 8) != 0)
            byte = (byte & 0x80) != 0 ? 0xFF : 0;
        out |= byte << (8 * i);
    }
    return out;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    const unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
    return static_cast<unsigned>(both << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    const unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
    return static_cast<unsigned>(both >> (shift & 31));
}
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++)
        c += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    return c;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 4; i++)
        c += (a >> (8 * i) & 0xFF) * (b >> (8 * i) & 0xFF);
    return c;
}
/// Sum of the absolute differences of four bytes.
inline unsigned __vsadu4(unsigned a, unsigned b) {
    unsigned out = 0;
    for (int i = 0; i < 4; i++)
        out += static_cast<unsigned>(
            std::abs(static_cast<int>(a >> (8 * i) & 0xFF) - static_cast<int>(b >> (8 * i) & 0xFF)));
    return out;
}
inline int __sad(int a, int b, unsigned c) {
    return static_cast<int>(c + (a > b ? static_cast<unsigned>(a) - static_cast<unsigned>(b)
                                       : static_cast<unsigned>(b) - static_cast<unsigned>(a)));
}

// --- Half precision: cuda_fp16.h has on the host all but what follows. One rounding at the end: the product
// of two halves is exact in double, and so is nearly every sum. ---

inline __half __hfma(__half a, __half b, __half c) {
    return __double2half(static_cast<double>(__half2float(a)) * static_cast<double>(__half2float(b)) +
                         static_cast<double>(__half2float(c)));
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
    return __halves2half2(__hfma(__low2half(a), __low2half(b), __low2half(c)),
                          __hfma(__high2half(a), __high2half(b), __high2half(c)));
}
inline __half __hfma_relu(__half a, __half b, __half c) {
    return __hmax(__hfma(a, b, c), __float2half_rn(0.0F));
}
inline __half2 __hfma2_relu(__half2 a, __half2 b, __half2 c) {
    return __hmax2(__hfma2(a, b, c), __float2half2_rn(0.0F));
}
inline __half hrcp(__half a) {
    return __float2half_rn(1.0F / __half2float(a));
}
inline __half hexp(__half a) {
    return __float2half_rn(std::exp(__half2float(a)));
}
inline __half2 h2exp(__half2 a) {
    return __halves2half2(hexp(__low2half(a)), hexp(__high2half(a)));
}
inline __half2 h2rcp(__half2 a) {
    return __halves2half2(hrcp(__low2half(a)), hrcp(__high2half(a)));
}
// NOLINTEND
