// SPDX-License-Identifier: BSD-2-Clause
// Streams and events.
#include "cuda/emulator/api.h"

using namespace clv::cuda::emulator;

extern "C" {

CUresult CUDAAPI cuStreamCreate(CUstream *out, unsigned flags) {
    CLV_NEED_CONTEXT;
    *out = new CUstream_st;
    (*out)->context = current();
    (*out)->blocking = (flags & CU_STREAM_NON_BLOCKING) == 0;
    world().streams.insert(*out);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamCreateWithPriority(CUstream *out, unsigned flags, int) {
    return cuStreamCreate(out, flags);
}

CUresult CUDAAPI cuStreamDestroy(CUstream handle) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().streams.count(handle) != 0, CUDA_ERROR_INVALID_HANDLE);
    work_off(handle);
    for (const CUevent event : world().events)
        if (event->stream == handle)
            event->stream = nullptr; // done
    world().streams.erase(handle);
    delete handle;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(!spoils(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    world().statistics.waits++;
    work_off(stream);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamQuery(CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    if (stream->done == stream->enqueued)
        return CUDA_SUCCESS;
    work_off(stream, stream->done + 1);
    return CUDA_ERROR_NOT_READY;
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr && world().events.count(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(!spoils(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    const CUstream other = event->stream;
    const uint64_t position = event->position;
    enqueue(stream, [=] {
        if (other != nullptr && world().streams.count(other) != 0)
            work_off(other, position);
    });
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamAddCallback(CUstream handle, CUstreamCallback callback, void *data, unsigned) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(!spoils(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    enqueue(stream, [=] { callback(handle, CUDA_SUCCESS, data); });
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventCreate(CUevent *out, unsigned flags) {
    CLV_NEED_CONTEXT;
    *out = new CUevent_st;
    (*out)->context = current();
    (*out)->timing = (flags & CU_EVENT_DISABLE_TIMING) == 0;
    world().events.insert(*out);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventDestroy(CUevent event) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.erase(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    delete event;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventRecord(CUevent event, CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr && world().events.count(event) != 0 && event->context == current(),
             CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(!spoils(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    enqueue(stream, [=] {
        if (world().events.count(event) != 0)
            event->time = std::chrono::steady_clock::now();
    });
    event->stream = stream;
    event->position = stream->enqueued;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventQuery(CUevent event) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.count(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    if (event->stream == nullptr || event->stream->done >= event->position)
        return CUDA_SUCCESS;
    work_off(event->stream, event->stream->done + 1);
    return CUDA_ERROR_NOT_READY;
}

CUresult CUDAAPI cuEventSynchronize(CUevent event) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.count(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    world().statistics.waits++;
    if (event->stream != nullptr)
        work_off(event->stream, event->position);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventElapsedTime(float *out, CUevent from, CUevent to) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.count(from) != 0 && world().events.count(to) != 0, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(from->timing && to->timing && from->position != 0 && to->position != 0,
             CUDA_ERROR_INVALID_HANDLE);
    for (const CUevent event : {from, to})
        CLV_NEED(event->stream == nullptr || event->stream->done >= event->position, CUDA_ERROR_NOT_READY);
    *out = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return CUDA_SUCCESS;
}

} // extern "C"
