// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/lowrank.h"

#include "backends/lowrank_chain.h"

namespace clv::cuda {

bool suits_lowrank(const CompileRequest &request, const PictureSpec & /*spec*/) {
    return is_lowrank_chain(request);
}

std::unique_ptr<PictureModel> make_lowrank(const CompileRequest & /*request*/, const PictureSpec & /*spec*/) {
    throw Error(CLV_ERR_UNSUPPORTED, "backend cuda does not run lowrank_chain yet");
}

} // namespace clv::cuda
