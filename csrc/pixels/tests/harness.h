// SPDX-License-Identifier: BSD-2-Clause
//
// What the checks share: random numbers from a printed seed, a count of passes and failures, and memory whose
// every byte that must not be written is watched.
#pragma once

#include "pixels/kernels.h"

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace clv::pixels::test {

class Report {
public:
    void expect(bool good, const std::string &what);
    /// Prints the line that ends the run; returns the exit status.
    int finish() const;

private:
    long passed_ = 0;
    long failed_ = 0;
};

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
    bool one_in(int n) { return between(1, n) == 1; }
    float real(float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine_); }
    std::uint64_t bits() { return engine_(); }

private:
    std::mt19937_64 engine_;
};

/// How rows lie in memory: any stride, forward or backward, with or without bytes around and between them.
struct RowLayout {
    int rows = 0;
    std::ptrdiff_t row_bytes = 0;
    std::ptrdiff_t stride = 0; ///< negative: the last row comes first
    std::ptrdiff_t before = 0; ///< bytes before the first byte of any row
    std::ptrdiff_t after = 0;  ///< bytes after the last

    /// A tight one has nothing around the rows, so that AddressSanitizer sees the first byte too far.
    static RowLayout random(Random &random, int rows, std::ptrdiff_t row_bytes, std::ptrdiff_t unit);
    std::size_t size() const;
    std::ptrdiff_t offset(int row) const;
};

/// Rows in memory of exactly their size; every byte starts as noise that depends on its place.
class Rows {
public:
    explicit Rows(const RowLayout &layout);
    std::uint8_t *row(int y) { return bytes_.get() + layout_.offset(y); }
    const std::uint8_t *row(int y) const { return bytes_.get() + layout_.offset(y); }
    const RowLayout &layout() const { return layout_; }

    bool equals(const Rows &other) const;
    /// Whether all but the first `row_bytes` bytes of rows [begin, end) are still what they were.
    bool outside_untouched(int begin, int end) const;
    bool outside_untouched() const { return outside_untouched(0, layout_.rows); }

private:
    RowLayout layout_;
    std::unique_ptr<std::uint8_t[]> bytes_;
};

/// The planes of a picture, filled with random codes of its bit depth.
class TestPicture {
public:
    TestPicture(const PictureFormat &format, Random &random);
    /// The same layout, all bytes noise: something to write into.
    static TestPicture blank(const PictureFormat &format, const std::vector<RowLayout> &layouts);
    static std::vector<RowLayout> random_layouts(const PictureFormat &format, Random &random);

    ConstPicture view() const;
    Picture view();
    int code(int plane, int x, int y) const;
    void set_code(int plane, int x, int y, int code);

    PictureFormat format;
    std::vector<Rows> planes;

private:
    TestPicture() = default;
};

/// The planes' sizes in samples; a semi-planar one's second plane has both.
std::vector<std::pair<int, int>> plane_sizes(const PictureFormat &format);

PictureFormat random_format(Random &random, int max_size);
std::string describe(const PictureFormat &format);
int level_count();
const Kernels *level(int index); ///< null where this machine lacks it

void check_kernels(Report &report, std::uint64_t seed, int rounds);
void check_colour(Report &report, std::uint64_t seed, int rounds);
void check_thread_pool(Report &report);
void bench(double seconds);

} // namespace clv::pixels::test
