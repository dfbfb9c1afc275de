// SPDX-License-Identifier: BSD-2-Clause
// Tensor cores and asynchronous copies. Fragment layouts are those of the PTX ISA, "Matrix
// multiply-accumulate operation using mma instruction". With lane = 4 * g + t (g = 0..7, t = 0..3) a lane of
// a warp holds:
//
//   m16n8k16   A (16 x 16, row)   a[0] = A[g][2t, 2t+1]      a[2] = A[g][2t+8, 2t+9]
//                                 a[1] = A[g+8][2t, 2t+1]    a[3] = A[g+8][2t+8, 2t+9]
//              B (16 x 8, column) b[0] = B[2t, 2t+1][g]      b[1] = B[2t+8, 2t+9][g]
//              D (16 x 8)         d[0], d[1] = D[g][2t, 2t+1]    d[2], d[3] = D[g+8][2t, 2t+1]
//   m16n8k8    as the left half of A and the upper half of B.
//
// Every function here is for all 32 lanes of a warp but those on cp_async, which are each thread's own.
#pragma once

#include "cuda/device.cuh"

namespace clv::cuda {

#ifdef __CUDACC__

CLV_DEVICE uint32_t shared_address(const void *p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/// Four 8x8 matrices of f16 from shared memory: lane 8i + j gives the address of row j of matrix i, 16
/// contiguous bytes, aligned to 16. Lane 4g + t gets row g, columns 2t and 2t+1 of matrix i in r[i].
CLV_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

/// Two matrices: lanes 0 to 15 give the addresses; those of the others must be valid all the same.
CLV_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row)));
}

/// As ldmatrix_x4, transposed: lane 4g + t gets column g, rows 2t and 2t+1.
CLV_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

CLV_DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row)));
}

/// d += a * b.
CLV_DEVICE void mma_m16n8k8(float (&d)[4], const uint32_t (&a)[2], uint32_t b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}

/// d += a * b. Turing has it in two steps.
CLV_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    mma_m16n8k8(d, {a[0], a[1]}, b[0]);
    mma_m16n8k8(d, {a[2], a[3]}, b[1]);
#endif
}

/// Copies 16 bytes, both sides aligned to 16, or writes zeros when not `valid` (and then reads nothing). Seen
/// by this thread after cp_async_wait(), by others after a barrier behind that. Turing copies at once.
CLV_DEVICE void cp_async_16(void *shared, const void *global, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 16 : 0)
                 : "memory");
#else
    *static_cast<uint4 *>(shared) = valid ? *static_cast<const uint4 *>(global) : make_uint4(0, 0, 0, 0);
#endif
}

/// The same with 4 bytes, aligned to 4.
CLV_DEVICE void cp_async_4(void *shared, const void *global, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 4 : 0)
                 : "memory");
#else
    *static_cast<uint32_t *>(shared) = valid ? *static_cast<const uint32_t *>(global) : 0;
#endif
}

/// This thread's copies since the last commit become one group.
CLV_DEVICE void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most the `groups` newest of this thread's groups are under way.
template <int groups>
CLV_DEVICE void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

#else

// The emulator runs each for the whole warp, when the last lane arrives.
CLV_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void *row, CLV_EMULATOR_WHERE) {
    emulator::load_matrices("ldmatrix_x4", r, row, 4, false, file, line);
}
CLV_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void *row, CLV_EMULATOR_WHERE) {
    emulator::load_matrices("ldmatrix_x2", r, row, 2, false, file, line);
}
CLV_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row, CLV_EMULATOR_WHERE) {
    emulator::load_matrices("ldmatrix_x4_trans", r, row, 4, true, file, line);
}
CLV_DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void *row, CLV_EMULATOR_WHERE) {
    emulator::load_matrices("ldmatrix_x2_trans", r, row, 2, true, file, line);
}
CLV_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             CLV_EMULATOR_WHERE) {
    emulator::multiply("mma_m16n8k16", d, a, b, 16, file, line);
}
CLV_DEVICE void mma_m16n8k8(float (&d)[4], const uint32_t (&a)[2], uint32_t b, CLV_EMULATOR_WHERE) {
    emulator::multiply("mma_m16n8k8", d, a, &b, 8, file, line);
}
CLV_DEVICE void cp_async_16(void *shared, const void *global, bool valid, CLV_EMULATOR_WHERE) {
    emulator::copy_async("cp_async_16", shared, global, 16, valid, file, line);
}
CLV_DEVICE void cp_async_4(void *shared, const void *global, bool valid, CLV_EMULATOR_WHERE) {
    emulator::copy_async("cp_async_4", shared, global, 4, valid, file, line);
}
CLV_DEVICE void cp_async_commit() {
    emulator::copy_commit();
}
template <int groups>
CLV_DEVICE void cp_async_wait() {
    emulator::copy_wait(groups);
}

#endif

} // namespace clv::cuda
