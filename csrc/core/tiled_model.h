// SPDX-License-Identifier: BSD-2-Clause
// A net in host memory that was made for tiles, as one for whole pictures.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"
#include "core/model.h"
#include "core/tiles.h"

namespace clv {

/// `tile` was made for plan.tile. Its requests work on several tiles of a picture at once and are driven by
/// whoever waits for the picture: there are no threads of its own. Throws Error(CLV_ERR_UNSUPPORTED) when
/// what the net gives for a tile is no whole multiple of the tile.
std::unique_ptr<CompiledModel> tiled_model(std::unique_ptr<CompiledModel> tile, const TilePlan &plan,
                                           int in_flight, const std::string &name);

/// backend.compile(), in tiles when `wish` or memory asks for them. `how` is set to what was chosen and why,
/// "" for whole pictures. Throws Error as compile() and TileRules, and CLV_ERR_NO_MEMORY when even the
/// smallest tiles take more than there is.
std::unique_ptr<CompiledModel> compile_in_tiles(Backend &backend, const Bundle &bundle,
                                                const CompileRequest &request, const TileWish &wish,
                                                std::string &how);

/// How many times as large as its input the output of a net for tiles is. Throws Error(CLV_ERR_UNSUPPORTED)
/// when it is no whole multiple.
int64_t tile_scale(const TensorShape &tile, const TensorShape &output, const std::string &name);

} // namespace clv
