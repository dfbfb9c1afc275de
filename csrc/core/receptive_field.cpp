// SPDX-License-Identifier: BSD-2-Clause
// Each tensor of the graph lies on a grid over the input: position p is at p * jump, and its value depends on
// the input in [p * jump - left, p * jump + right]. Layers change jump, left and right; where paths meet the
// larger reach counts. All of it for rows and for columns.
#include "core/receptive_field.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "core/onnx_graph.h"

namespace clv {
namespace {

constexpr int64_t kLargestJump = 1 << 16; // beyond all pictures

struct Axis {
    int64_t jump = 1; ///< jump / per positions of the input, in lowest terms
    int64_t per = 1;
    double left = 0;
    double right = 0;
    int64_t alignment = 1; ///< of all jumps on the way

    double step() const { return static_cast<double>(jump) / static_cast<double>(per); }
    void scale(int64_t by, int64_t over) {
        jump *= by;
        per *= over;
        const int64_t common = std::gcd(jump, per);
        jump /= common;
        per /= common;
        alignment = std::lcm(alignment, std::min(jump, kLargestJump));
    }
    void reach(double to_left, double to_right) {
        left += to_left;
        right += to_right;
    }
};

using Grid = std::array<Axis, 2>; // rows, columns

/// Value by value, or along channels only.
const std::set<std::string> kLocal = {"Abs",
                                      "Add",
                                      "And",
                                      "BatchNormalization",
                                      "Cast",
                                      "Ceil",
                                      "Celu",
                                      "Clip",
                                      "Cos",
                                      "DequantizeLinear",
                                      "Div",
                                      "Dropout",
                                      "Elu",
                                      "Equal",
                                      "Erf",
                                      "Exp",
                                      "Floor",
                                      "Gelu",
                                      "Greater",
                                      "HardSwish",
                                      "HardSigmoid",
                                      "Identity",
                                      "LRN",
                                      "LeakyRelu",
                                      "Less",
                                      "Log",
                                      "Max",
                                      "Mean",
                                      "Min",
                                      "Mish",
                                      "Mod",
                                      "Mul",
                                      "Neg",
                                      "Not",
                                      "Or",
                                      "PRelu",
                                      "Pow",
                                      "QuantizeLinear",
                                      "Reciprocal",
                                      "Relu",
                                      "Round",
                                      "Selu",
                                      "Sigmoid",
                                      "Sign",
                                      "Sin",
                                      "Softplus",
                                      "Softsign",
                                      "Sqrt",
                                      "Sub",
                                      "Sum",
                                      "Swish",
                                      "Tanh",
                                      "ThresholdedRelu",
                                      "Where",
                                      "Xor"};
/// Their result is the same everywhere.
const std::set<std::string> kPooledToOne = {"GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"};
/// They look at the whole picture and give one.
const std::set<std::string> kNormalising = {"GroupNormalization", "InstanceNormalization",
                                            "LayerNormalization", "MeanVarianceNormalization"};

class Walk {
public:
    explicit Walk(const OnnxGraph &graph) : graph_(graph) {}

    ReceptiveField run() {
        for (const auto &input : graph_.inputs)
            if (input != "strength")
                grids_[input] = Grid();
        for (const OnnxNode &node : graph_.nodes)
            visit(node);
        if (graph_.outputs.empty() || !grids_.contains(graph_.outputs[0])) {
            unknown("its output, to which nothing leads from the picture,");
            return field_;
        }
        constexpr double kTiny = 1e-6;
        for (const Axis &axis : grids_[graph_.outputs[0]]) {
            field_.alignment = std::lcm(field_.alignment, axis.alignment);
            field_.radius =
                std::max({field_.radius, static_cast<int64_t>(std::floor(axis.left + kTiny)),
                          static_cast<int64_t>(std::floor(axis.right + 1 - axis.step() + kTiny))});
        }
        return field_;
    }

private:
    void unknown(const std::string &what) {
        if (field_.unknown.empty())
            field_.unknown = what;
    }
    void whole(const std::string &what) {
        if (field_.whole.empty())
            field_.whole = what;
    }

    const OnnxConstant *constant(const OnnxNode &node, size_t input) const {
        if (input >= node.inputs.size())
            return nullptr;
        const auto found = graph_.constants.find(node.inputs[input]);
        return found == graph_.constants.end() ? nullptr : &found->second;
    }

    /// Integers of an input, as newer opsets have them, or of an attribute; empty when there are none.
    std::vector<int64_t> integers(const OnnxNode &node, size_t input, const std::string &attribute) const {
        if (const OnnxConstant *values = constant(node, input); values && values->has_values) {
            std::vector<int64_t> all;
            for (const double value : values->values)
                all.push_back(static_cast<int64_t>(value));
            return all;
        }
        return node.integers(attribute);
    }

    /// What its inputs from the picture reach together; none: the node is about constants and sizes.
    const Grid *merged(const OnnxNode &node, Grid &to) {
        bool any = false;
        for (const auto &name : node.inputs) {
            const auto found = grids_.find(name);
            if (found == grids_.end())
                continue;
            if (!any) {
                to = found->second;
                any = true;
                continue;
            }
            for (size_t i = 0; i < 2; i++) {
                const Axis &other = found->second[i];
                if (other.jump != to[i].jump || other.per != to[i].per)
                    unknown(node.label() + ", which joins features of different sizes");
                to[i].left = std::max(to[i].left, other.left);
                to[i].right = std::max(to[i].right, other.right);
                to[i].alignment = std::lcm(to[i].alignment, other.alignment);
            }
        }
        return any ? &to : nullptr;
    }

    void visit(const OnnxNode &node) {
        Grid grid;
        if (node.type == "Shape" || node.type == "Size" || !merged(node, grid))
            return;
        if (kPooledToOne.contains(node.type) || (node.type.starts_with("Reduce") && reduces_picture(node))) {
            whole(node.label());
            return; // one value for all positions: it has no reach of its own
        }
        if (node.domain.empty() || node.domain == "ai.onnx")
            follow(node, grid);
        else
            unknown(node.label());
        for (const auto &output : node.outputs)
            grids_[output] = grid;
    }

    void follow(const OnnxNode &node, Grid &grid) {
        if (kNormalising.contains(node.type))
            whole(node.label());
        else if (node.type == "Conv" || node.type == "MaxPool" || node.type == "AveragePool" ||
                 node.type == "LpPool")
            window(node, grid);
        else if (node.type == "ConvTranspose")
            transposed(node, grid);
        else if (node.type == "DepthToSpace" || node.type == "SpaceToDepth")
            shuffle(node, grid);
        else if (node.type == "Pad")
            pad(node, grid);
        else if (node.type == "Resize" || node.type == "Upsample")
            resize(node, grid);
        else if (!is_local(node))
            unknown(node.label());
    }

    static bool is_channel(int64_t axis) { return axis == 1 || axis == -3; }

    bool reduces_picture(const OnnxNode &node) const {
        const auto axes = integers(node, 1, "axes");
        return axes.empty() || !std::all_of(axes.begin(), axes.end(), is_channel);
    }

    /// Value by value; axes of operators that have some must be those of channels.
    bool is_local(const OnnxNode &node) const {
        if (kLocal.contains(node.type) || node.type.starts_with("Reduce"))
            return true;
        if (node.type == "Concat" || node.type == "Split" || node.type == "Gather")
            return is_channel(node.integer("axis", 0));
        if (node.type == "Softmax" || node.type == "LogSoftmax")
            return is_channel(node.integer("axis", -1));
        if (node.type == "Slice") {
            const auto axes = integers(node, 3, "axes");
            return !axes.empty() && std::all_of(axes.begin(), axes.end(),
                                                [](int64_t axis) { return is_channel(axis) || axis == 0; });
        }
        return false;
    }

    struct Kernel {
        int64_t reach = 0; ///< (size - 1) * dilation
        int64_t stride = 1;
        int64_t before = 0; ///< padding
        bool padding_varies = false;
    };

    /// False when the graph does not say how large the kernel is.
    bool kernel_of(const OnnxNode &node, size_t axis, Kernel &kernel) const {
        auto sizes = node.integers("kernel_shape");
        if (sizes.empty())
            if (const OnnxConstant *weights = constant(node, 1); weights && weights->shape.size() == 4)
                sizes = {weights->shape[2], weights->shape[3]};
        if (sizes.size() != 2)
            return false;
        const auto at = [axis](const std::vector<int64_t> &values, int64_t otherwise) {
            return values.size() > axis ? values[axis] : otherwise;
        };
        kernel.reach = (sizes[axis] - 1) * at(node.integers("dilations"), 1);
        kernel.stride = at(node.integers("strides"), 1);
        kernel.before = at(node.integers("pads"), 0);
        const std::string mode = node.text("auto_pad", "NOTSET");
        if (mode.starts_with("SAME")) {
            kernel.before = mode == "SAME_LOWER" ? (kernel.reach + 1) / 2 : kernel.reach / 2;
            kernel.padding_varies = kernel.stride > 1; // with the size of the picture
        }
        return kernel.stride >= 1 && kernel.reach >= 0;
    }

    void window(const OnnxNode &node, Grid &grid) {
        for (size_t i = 0; i < 2; i++) {
            Kernel kernel;
            if (!kernel_of(node, i, kernel))
                return unknown(node.label());
            const auto before = static_cast<double>(kernel.padding_varies ? kernel.reach : kernel.before);
            const auto after =
                static_cast<double>(kernel.padding_varies ? kernel.reach : kernel.reach - kernel.before);
            grid[i].reach(grid[i].step() * before, grid[i].step() * after);
            grid[i].scale(kernel.stride, 1);
        }
    }

    void transposed(const OnnxNode &node, Grid &grid) {
        for (size_t i = 0; i < 2; i++) {
            Kernel kernel;
            if (!kernel_of(node, i, kernel) || kernel.padding_varies ||
                !node.integers("output_shape").empty())
                return unknown(node.label());
            grid[i].scale(1, kernel.stride);
            grid[i].reach(grid[i].step() * static_cast<double>(kernel.reach - kernel.before),
                          grid[i].step() * static_cast<double>(kernel.before));
        }
    }

    void shuffle(const OnnxNode &node, Grid &grid) {
        const int64_t block = node.integer("blocksize", 0);
        if (block < 1)
            return unknown(node.label());
        for (Axis &axis : grid) {
            if (node.type == "SpaceToDepth") {
                axis.reach(0, axis.step() * static_cast<double>(block - 1));
                axis.scale(block, 1);
            } else {
                axis.scale(1, block);
                axis.reach(axis.step() * static_cast<double>(block - 1), 0);
            }
        }
    }

    void pad(const OnnxNode &node, Grid &grid) {
        const auto pads = integers(node, 1, "pads"); // begins of all axes, then ends
        if (pads.size() != 8 || node.inputs.size() > 3)
            return unknown(node.label());
        for (size_t i = 0; i < 2; i++) {
            const double before = grid[i].step() * static_cast<double>(pads[2 + i]);
            grid[i].reach(before, -before);
        }
    }

    void resize(const OnnxNode &node, Grid &grid) {
        const bool old = node.type == "Upsample" || node.inputs.size() == 2;
        const OnnxConstant *scales = constant(node, old ? 1 : 2);
        if (!scales || !scales->has_values || scales->values.size() != 4)
            return unknown(node.label() + ", whose factors are not in the file");
        const std::string grid_mode =
            node.text("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
        if (grid_mode == "align_corners" || grid_mode == "tf_crop_and_resize")
            whole(node.label() + " with " + grid_mode + ", whose grid depends on the picture's size");
        for (size_t i = 0; i < 2; i++) {
            const double factor = scales->values[2 + i];
            int64_t over = 1;
            while (over <= 16 && std::abs(factor * static_cast<double>(over) -
                                          std::round(factor * static_cast<double>(over))) > 1e-4)
                over++;
            const auto times = static_cast<int64_t>(std::llround(factor * static_cast<double>(over)));
            if (over > 16 || times < 1)
                return unknown(node.label());
            const double shift = grid_mode == "asymmetric" ? 0 : 0.5 / factor - 0.5;
            double before = 0, after = 0; // of the taps around a point between positions
            const std::string mode = node.text("mode", "nearest");
            if (mode == "nearest") {
                const std::string rounding = node.text("nearest_mode", old ? "floor" : "round_prefer_floor");
                const double most = 1 - 1.0 / static_cast<double>(2 * times);
                before = rounding == "floor" ? most : rounding == "ceil" ? 0 : 0.5;
                after = rounding == "ceil" ? most : rounding == "floor" ? 0 : 0.5;
            } else {
                before = after = mode == "cubic" ? 2 : 1;
                if (node.integer("antialias", 0) && factor < 1)
                    before = after = (before + 1) / factor;
            }
            grid[i].reach(grid[i].step() * (before - shift), grid[i].step() * (after + shift));
            grid[i].scale(over, times);
        }
    }

    const OnnxGraph &graph_;
    std::map<std::string, Grid> grids_;
    ReceptiveField field_;
};

} // namespace

ReceptiveField receptive_field(std::span<const std::byte> onnx, const std::string &what) {
    return Walk(read_onnx_graph(onnx, what)).run();
}

} // namespace clv
