// SPDX-License-Identifier: BSD-2-Clause
// A CUDA graph: what was enqueued on a stream once, to be enqueued again with one call.
#pragma once

#include <utility>

#include "cuda/driver.h"

namespace clv::tensorrt {

/// All with its context current.
class Graph {
public:
    Graph() = default;
    ~Graph() { reset(); }
    Graph(const Graph &) = delete;
    Graph &operator=(const Graph &) = delete;

    explicit operator bool() const { return executable_ != nullptr; }

    void launch(CUstream stream) const {
        cuda::check(cuda::driver().cuGraphLaunch(executable_, stream), "launch a graph", CLV_ERR_INFERENCE);
    }

    void reset() noexcept {
        if (executable_)
            cuda::driver().cuGraphExecDestroy(executable_);
        executable_ = nullptr;
    }

    /// Records what `work` enqueues on `stream`, of which nothing runs; false when that cannot be recorded.
    /// Calls of other threads go on as they do (CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).
    template <class Work>
    bool record(CUstream stream, Work &&work) {
        const auto &driver = cuda::driver();
        reset();
        if (driver.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) != CUDA_SUCCESS)
            return false;
        bool good = std::forward<Work>(work)();
        CUgraph graph = nullptr;
        good = driver.cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS && good && graph;
        if (good && driver.cuGraphInstantiateWithFlags(&executable_, graph, 0) != CUDA_SUCCESS) {
            executable_ = nullptr;
            good = false;
        }
        if (graph)
            driver.cuGraphDestroy(graph);
        return good;
    }

private:
    CUgraphExec executable_ = nullptr;
};

} // namespace clv::tensorrt
