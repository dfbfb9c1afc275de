// SPDX-License-Identifier: BSD-2-Clause
// Graphs: the work that was enqueued on a stream while it was recorded, as a list. What a driver does not let
// be recorded (waits, events of other streams, allocations by the thread that records) is refused as there,
// and spoils the recording.
#include "cuda/emulator/api.h"

using namespace clv::cuda::emulator;

extern "C" {

CUresult CUDAAPI cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(stream != stream_of(nullptr), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); // of the default stream
    CLV_NEED(!stream->recording, CUDA_ERROR_ILLEGAL_STATE);
    stream->recording = std::make_unique<Recording>();
    stream->recording->thread = std::this_thread::get_id();
    stream->recording->relaxed = mode == CU_STREAM_CAPTURE_MODE_RELAXED;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *out) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    *out = !stream->recording          ? CU_STREAM_CAPTURE_STATUS_NONE
           : stream->recording->spoilt ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                       : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamEndCapture(CUstream handle, CUgraph *out) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(stream->recording != nullptr, CUDA_ERROR_ILLEGAL_STATE);
    const auto recording = std::move(stream->recording);
    *out = nullptr;
    CLV_NEED(!recording->spoilt, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    *out = new CUgraph_st{std::move(recording->work)};
    world().graphs++;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph, unsigned long long) {
    CLV_NEED_CONTEXT;
    CLV_NEED(graph != nullptr, CUDA_ERROR_INVALID_HANDLE);
    *out = new CUgraphExec_st{current(), graph->work};
    world().graphs++;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphLaunch(CUgraphExec graph, CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(graph != nullptr && stream != nullptr && graph->context == current(), CUDA_ERROR_INVALID_HANDLE);
    world().statistics.graph_launches++;
    enqueue(stream, [work = graph->work] {
        for (const auto &step : work)
            step();
    });
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphDestroy(CUgraph graph) {
    CLV_LOCK;
    CLV_NEED(graph != nullptr, CUDA_ERROR_INVALID_HANDLE);
    delete graph;
    world().graphs--;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec graph) {
    CLV_NEED_CONTEXT;
    CLV_NEED(graph != nullptr && graph->context == current(), CUDA_ERROR_INVALID_HANDLE);
    delete graph;
    world().graphs--;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    enqueue(stream, [=] { function(data); });
    return CUDA_SUCCESS;
}

} // extern "C"
