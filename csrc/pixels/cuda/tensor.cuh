// SPDX-License-Identifier: BSD-2-Clause
// Elements of NCHW tensors in device memory, f32 or f16, in runs.
#pragma once

#include "pixels/cuda/pixels.cuh"
#include "pixels/cuda/tensor_params.h"

namespace clv::pixels::device {

/// An element of a tensor as bits and as a value.
template <typename T>
struct Bits;
template <>
struct Bits<float> {
    using Type = std::uint32_t;
    static CLV_DEVICE std::uint32_t of(float value) {
        std::uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    static CLV_DEVICE float value(std::uint32_t bits) { return float_of_bits(bits); }
};
template <>
struct Bits<__half> {
    using Type = std::uint16_t;
    static CLV_DEVICE std::uint32_t of(float value) { return __half_as_ushort(__float2half_rn(value)); }
    static CLV_DEVICE float value(std::uint32_t bits) {
        return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
    }
};

/// N values to columns j..j+N-1 of a row, those before `width`.
template <typename T, int N>
CLV_DEVICE void store_values(T *row, int j, int width, const float (&value)[N]) {
    using Element = typename Bits<T>::Type;
    Run<Element, N> run = {};
#pragma unroll
    for (int n = 0; n < N; n++)
        run.set(n, Bits<T>::of(value[n]));
    store_run<Element>(reinterpret_cast<std::uint8_t *>(row), j, width, run);
}

/// The same back; 0 for columns that are not there.
template <typename T, int N>
CLV_DEVICE void load_values(const T *row, int j, int width, float (&value)[N]) {
    using Element = typename Bits<T>::Type;
    using R = Run<Element, N>;
    const auto *const from = reinterpret_cast<const std::uint8_t *>(row + j);
    if (j + N <= width && is_aligned(from, R::access)) {
        R run;
        run.load(from);
#pragma unroll
        for (int n = 0; n < N; n++)
            value[n] = Bits<T>::value(run[n]);
        return;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
        value[n] =
            j + n < width
                ? Bits<T>::value(load_sample<Element>(reinterpret_cast<const std::uint8_t *>(row), j + n))
                : 0.0f;
}

template <typename T, typename Void>
CLV_DEVICE auto *tensor_row(const BasicDeviceTensor<Void> &tensor, int channel, int row) {
    using Pointer = std::conditional_t<std::is_const_v<Void>, const T, T>;
    return static_cast<Pointer *>(tensor.data) + (channel * tensor.channel_stride + row * tensor.row_stride);
}

} // namespace clv::pixels::device
