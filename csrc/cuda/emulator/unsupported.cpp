// SPDX-License-Identifier: BSD-2-Clause
// Functions that FFmpeg's loader wants to find and that nobody here can serve: graphics, textures, arrays,
// run-time linking. Not with cuda.h, whose declarations they would have to repeat.

// CUDA_ERROR_NOT_SUPPORTED
#define CLV_UNSUPPORTED(name)                                                                                \
    extern "C" __attribute__((visibility("default"))) int name();                                            \
    int name() {                                                                                             \
        return 801;                                                                                          \
    }

CLV_UNSUPPORTED(cuArray3DCreate_v2)
CLV_UNSUPPORTED(cuArrayCreate_v2)
CLV_UNSUPPORTED(cuArrayDestroy)
CLV_UNSUPPORTED(cuGLGetDevices_v2)
CLV_UNSUPPORTED(cuGraphicsGLRegisterImage)
CLV_UNSUPPORTED(cuGraphicsMapResources)
CLV_UNSUPPORTED(cuGraphicsResourceGetMappedPointer_v2)
CLV_UNSUPPORTED(cuGraphicsSubResourceGetMappedArray)
CLV_UNSUPPORTED(cuGraphicsUnmapResources)
CLV_UNSUPPORTED(cuGraphicsUnregisterResource)
CLV_UNSUPPORTED(cuLinkAddData)
CLV_UNSUPPORTED(cuLinkComplete)
CLV_UNSUPPORTED(cuLinkCreate)
CLV_UNSUPPORTED(cuLinkDestroy)
CLV_UNSUPPORTED(cuModuleGetGlobal)
CLV_UNSUPPORTED(cuTexObjectCreate)
CLV_UNSUPPORTED(cuTexObjectDestroy)
