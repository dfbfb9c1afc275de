// SPDX-License-Identifier: BSD-2-Clause
// Modules and kernels.
#include "cuda/emulator/api.h"

#include <algorithm>
#include <cstring>

#include "cuda/emulator/block.h"
#include "cuda/emulator/collectives.h"

using namespace clv::cuda::emulator;

namespace {

int blocks_that_fit(const CUfunc_st &function, int threads, size_t shared) {
    const DeviceProperties &device = settings().device;
    if (threads < 1 || threads > function.kernel->threads || shared > function.shared_limit)
        return 0;
    // From the eighth generation on the system takes 1 KiB of each block's.
    const size_t of_block = shared + (device.major >= 8 ? 1024 : 0);
    int out = std::min(32, device.threads_per_multiprocessor / ((threads + 31) / 32 * 32));
    if (of_block > 0)
        out = std::min(out, device.shared_per_multiprocessor / static_cast<int>(of_block));
    // Registers are unknown here: what the kernel promised the compiler is taken for what it keeps.
    return out;
}

} // namespace

extern "C" {

CUresult CUDAAPI cuModuleLoadData(CUmodule *out, const void *image) {
    CLV_NEED_CONTEXT;
    CLV_NEED(out != nullptr && image != nullptr, CUDA_ERROR_INVALID_VALUE);
    // A fat binary: magic, version (2 bytes), size of the header (2), of what follows (8).
    uint32_t magic = 0;
    uint16_t header = 0;
    uint64_t size = 0;
    std::memcpy(&magic, image, 4);
    if (magic != 0xBA55ED50)
        return CUDA_ERROR_NOT_SUPPORTED; // PTX of FFmpeg's own filters and the like
    std::memcpy(&header, static_cast<const char *>(image) + 6, 2);
    std::memcpy(&size, static_cast<const char *>(image) + 8, 8);
    // clarivid_cuda_kernels() writes the name of the source behind it.
    const char *behind = static_cast<const char *>(image) + header + size;
    constexpr char mark[] = "clarivid-image:";
    *out = new CUmod_st;
    (*out)->context = current();
    if (std::memcmp(behind, mark, sizeof mark - 1) == 0)
        (*out)->image = behind + sizeof mark - 1;
    world().modules.insert(*out);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned, CUjit_option *, void **) {
    return cuModuleLoadData(out, image);
}

CUresult CUDAAPI cuModuleUnload(CUmodule module) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().modules.count(module) != 0 && module->context == current(), CUDA_ERROR_INVALID_HANDLE);
    work_off(current());
    world().modules.erase(module);
    delete module;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().modules.count(module) != 0, CUDA_ERROR_INVALID_HANDLE);
    const Kernel *kernel = find_kernel(name);
    CLV_NEED(kernel != nullptr, CUDA_ERROR_NOT_FOUND);
    // Of this source, not of another one.
    const std::string file = kernel->file;
    const std::string stem = file.substr(file.rfind('/') + 1);
    CLV_NEED(stem.substr(0, stem.find('.')) == module->image, CUDA_ERROR_NOT_FOUND);
    CUfunc_st &function = module->functions[name];
    function.module = module;
    function.kernel = kernel;
    *out = &function;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncGetAttribute(int *out, CUfunction_attribute which, CUfunction function) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    const Kernel &kernel = *function->kernel;
    switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *out = kernel.threads;
        break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *out = std::min(255, 65536 / (kernel.threads * kernel.blocks) / 8 * 8);
        break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *out = static_cast<int>(function->shared_limit);
        break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *out = 10 * settings().device.major + settings().device.minor;
        break;
    default:
        *out = 0;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction function, CUfunction_attribute which, int value) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    if (which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        CLV_NEED(value >= 0 && value <= settings().device.shared_per_block, CUDA_ERROR_INVALID_VALUE);
        function->shared_limit = static_cast<size_t>(value);
        return CUDA_SUCCESS;
    }
    CLV_NEED(which == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, CUDA_ERROR_INVALID_VALUE);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, CUfunction function, int threads,
                                                             size_t shared) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    *out = blocks_that_fit(*function, threads, shared);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                                CUstream handle, void **params, void **extra) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(world().modules.count(function->module) != 0 && function->module->context == current(),
             CUDA_ERROR_INVALID_HANDLE);
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    const Kernel &kernel = *function->kernel;
    const uint64_t threads = static_cast<uint64_t>(block_x) * block_y * block_z;
    CLV_NEED(threads >= 1 && threads <= static_cast<uint64_t>(kernel.threads) && block_z <= 64,
             CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(grid_x >= 1 && grid_y >= 1 && grid_z >= 1 && grid_x <= 0x7fffffff && grid_y <= 65535 &&
                 grid_z <= 65535,
             CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(shared <= function->shared_limit, CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(extra == nullptr && params != nullptr && params[0] != nullptr, CUDA_ERROR_INVALID_VALUE);

    std::vector<unsigned char> copied(kernel.params);
    std::memcpy(copied.data(), params[0], kernel.params);
    enqueue(stream, [&kernel, grid = dim3(grid_x, grid_y, grid_z), block = dim3(block_x, block_y, block_z),
                     shared, copied = std::move(copied)] {
        const auto start = std::chrono::steady_clock::now();
        take_bank_statistics();
        run({&kernel, grid, block, shared, copied.data()});
        const BankStatistics banks = take_bank_statistics();
        Statistics::Kernel &statistics = world().statistics.kernels[kernel.name];
        statistics.launches++;
        statistics.blocks += static_cast<uint64_t>(grid.x) * grid.y * grid.z;
        statistics.matrix_reads += banks.reads;
        statistics.matrix_passes += banks.passes;
        statistics.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
    return CUDA_SUCCESS;
}

} // extern "C"
