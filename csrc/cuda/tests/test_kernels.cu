// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/tests/test_kernels.h"

#include "cuda/mma.cuh"

using namespace clv::cuda;
using namespace clv::cuda::test;

CLV_KERNEL(clv_test_scale, ScaleParams, 256, 1) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < p.count)
        p.to[i] = p.from[i] * p.by;
}

CLV_KERNEL(clv_test_matrices, MatrixParams, 32, 1) {
    // Rows of 16 bytes: the halves of A beside each other become blocks of 8 columns.
    auto *a_shared = reinterpret_cast<uint16_t *>(dynamic_shared()); // [2][16][8]
    uint16_t *b_shared = a_shared + 2 * 16 * 8;                      // [16][8]
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < 16 * p.depth; i += 32)
        a_shared[(i % p.depth / 8 * 16 + i / p.depth) * 8 + i % 8] = p.a[i];
    for (int i = lane; i < p.depth * 8; i += 32)
        b_shared[i] = p.b[i];
    __syncwarp();

    const int g = lane / 4, t = lane % 4;
    float d[4];
    for (int i = 0; i < 4; i++)
        d[i] = p.d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2];
    // Lane 8i + j gives row j of matrix i: upper left, lower left, upper right, lower right.
    const uint16_t *a_row = a_shared + ((lane / 16) * 16 + lane % 16) * 8;
    const uint16_t *b_row = b_shared + lane % 16 * 8;
    if (p.depth == 16) {
        uint32_t a[4], b[2];
        ldmatrix_x4(a, a_row);
        ldmatrix_x2_trans(b, b_row); // B lies in rows, its fragment goes along columns
        mma_m16n8k16(d, a, b);
    } else {
        uint32_t a[2], b[2];
        ldmatrix_x2(a, a_shared + lane % 16 * 8);
        ldmatrix_x2_trans(b, b_shared + lane % 8 * 8);
        mma_m16n8k8(d, a, b[0]);
    }
    for (int i = 0; i < 4; i++)
        p.d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = d[i];
}

CLV_KERNEL(clv_test_collectives, CollectiveParams, 96, 1) {
    const unsigned thread = threadIdx.x + blockDim.x * threadIdx.y, threads = blockDim.x * blockDim.y;
    const unsigned lane = thread % 32, all = 0xffffffff;
    const uint32_t value = thread * 7 + 3;
    int row = 0;
    const auto put = [&](uint32_t result) { p.out[row++ * threads + thread] = result; };
    put(__shfl_sync(all, value, static_cast<int>(lane * 5 + 1)));
    put(__shfl_sync(all, value, static_cast<int>(lane + 3), 8));
    put(__shfl_up_sync(all, value, 3));
    put(__shfl_up_sync(all, value, 2, 4));
    put(__shfl_down_sync(all, value, 5));
    put(__shfl_down_sync(all, value, 1, 16));
    put(__shfl_xor_sync(all, value, 9));
    put(__shfl_xor_sync(all, value, 3, 4));
    put(__float_as_uint(__shfl_xor_sync(all, static_cast<float>(value), 16)));
    put(__ballot_sync(all, value % 3 == 0));
    put(static_cast<uint32_t>(__any_sync(all, thread == 40)));
    put(static_cast<uint32_t>(__all_sync(all, thread < 64)));
    put(static_cast<uint32_t>(__syncthreads_count(value % 5 == 0)));
    put(static_cast<uint32_t>(__syncthreads_or(thread == 95)));
    put(static_cast<uint32_t>(__syncthreads_and(thread != 95)));
    // Half a warp on its own.
    if (lane < 16)
        put(__shfl_xor_sync(0xffff, value, 1));
    else
        put(__ballot_sync(0xffff0000, lane % 2));
    __syncwarp();
    // Neighbours across warps, through shared memory.
    auto *shared = reinterpret_cast<uint32_t *>(dynamic_shared());
    shared[thread] = value;
    __syncthreads();
    put(shared[(thread + 37) % threads]);
}

CLV_KERNEL(clv_test_copies, CopyParams, kCopyThreads, 1) {
    // Three rows of shared memory in a ring.
    auto *ring = reinterpret_cast<uint32_t *>(dynamic_shared());
    const int thread = static_cast<int>(threadIdx.x);
    const auto bring = [&](int row) {
        const bool there = row < p.rows;
        cp_async_16(ring + row % 3 * kCopyWords + 4 * thread,
                    there ? p.from + static_cast<size_t>(row) * kCopyWords + 4 * thread : p.from, there);
        cp_async_commit();
    };
    bring(0);
    bring(1);
    for (int row = 0; row < p.rows; row++) {
        bring(row + 2);
        cp_async_wait<2>();
        __syncthreads();
        uint32_t sum = 0;
        for (int i = 0; i < 4; i++)
            sum += ring[row % 3 * kCopyWords + (thread * 4 + i * 65) % kCopyWords]; // what others brought
        for (int step = 16; step > 0; step /= 2)
            sum += __shfl_xor_sync(0xffffffff, sum, step);
        if (thread % 32 == 0)
            atomicAdd(p.sums + row, sum);
        __syncthreads();
    }
    cp_async_wait<0>();
}

CLV_KERNEL(clv_test_atomics, AtomicParams, 128, 2) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(p.out, i);
    atomicMax(p.out + 1, i ^ 0x55U);
    atomicMin(p.out + 2, i ^ 0x55U);
    atomicOr(p.out + 3, 1U << i % 32);
    atomicAdd(p.sum, 0.5F);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(p.out + 5, 1U) == gridDim.x - 1)
        p.out[4] = p.out[5];
}

CLV_KERNEL(clv_test_wrong, WrongParams, 64, 1) {
    auto *shared = reinterpret_cast<uint32_t *>(dynamic_shared()); // 64 words
    const unsigned thread = threadIdx.x;
    uint32_t result = thread;
    switch (p.what) {
    case Wrong::nothing:
    case Wrong::write_behind:
    case Wrong::read_behind:
    case Wrong::write_before:
    case Wrong::misaligned:
        break;
    case Wrong::no_barrier:
        shared[thread] = thread;
        result = shared[63 - thread];
        break;
    case Wrong::no_warp_barrier:
        shared[thread] = thread;
        result = shared[thread ^ 1];
        break;
    case Wrong::no_wait:
        shared[thread] = 1;
        cp_async_4(shared + thread, p.from + thread, true);
        cp_async_commit();
        __syncthreads();
        result = shared[63 - thread];
        break;
    case Wrong::half_a_barrier:
        if (thread < 40)
            __syncthreads();
        else
            result = __shfl_sync(0xffffffff, result, 0);
        break;
    case Wrong::half_a_warp:
        if (thread % 32 < 20)
            result = __shfl_sync(0xffffffff, result, 0);
        else
            __syncthreads();
        break;
    case Wrong::matrix_outside: {
        uint32_t r[4];
        ldmatrix_x4(r, shared + 4 * thread);
        result = r[0] + r[1] + r[2] + r[3];
        break;
    }
    case Wrong::write_shared_behind:
        shared[thread + 1] = thread;
        break;
    }
    p.memory[thread] = result;
    if (thread == 0) {
        if (p.what == Wrong::write_behind)
            p.memory[p.offset] = 1;
        else if (p.what == Wrong::read_behind)
            p.memory[0] = p.from[p.offset];
        else if (p.what == Wrong::write_before)
            p.memory[-static_cast<int>(p.offset)] = 1;
        else if (p.what == Wrong::misaligned)
            *reinterpret_cast<uint4 *>(p.memory + 1) = make_uint4(1, 2, 3, 4);
    }
}
