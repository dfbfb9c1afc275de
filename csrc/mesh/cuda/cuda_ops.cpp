// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/cuda/cuda_ops.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "mesh/cuda/excerpts.h"
#include "mesh/cuda/launches.h"
#include "mesh/cuda/surfaces.h"
#include "mesh/cuda/uploads.h"
#include "mesh/host_ops.h"
#include "mesh/light.h"
#include "mesh/luma.h"

namespace clv::mesh::cuda {
namespace {

using clv::cuda::Buffer;
using clv::cuda::Current;
using clv::cuda::Event;
using clv::cuda::Pinned;
using clv::cuda::Place;

constexpr int kWord = 32; ///< bits
constexpr unsigned kLightThreads = 256;

size_t light_bytes(const Shape &shape) {
    return kFitBytes + 3 * sizeof(float) * most_light_places(shape);
}

/// Of everything that a picture sends, at most: drawn twice when something is painted.
size_t upload_bytes(const Shape &shape) {
    const size_t fields = kSlots * Field(shape).bytes();
    const size_t points = (kSlots + 1) * most_light_places(shape) * sizeof(LightPoint);
    const auto words = static_cast<size_t>(shape.width + kWord - 1) / kWord;
    const size_t bits = words * static_cast<size_t>(shape.height) * sizeof(uint32_t);
    constexpr size_t kGaps = 16 * 128;
    return 2 * (shape.blocks() + fields) + Field(shape).bytes() + points + kSlots * sizeof(LightJob) + bits +
           kGaps;
}

/// Eight bytes of 0 and 1 -> eight bits, the first byte's the lowest.
uint32_t bits_of(const uint8_t *bytes) {
    uint64_t eight;
    std::memcpy(&eight, bytes, sizeof eight);
    return static_cast<uint32_t>(eight * 0x0102040810204080U >> 56);
}

/// `count` bytes of 0 and 1 -> bits, whole words.
void pack_bits(const uint8_t *bytes, int count, uint32_t *to) {
    for (int first = 0; first < count; first += kWord, to++) {
        uint32_t word = 0;
        int i = 0;
        const int here = std::min(kWord, count - first);
        for (; i + 8 <= here; i += 8)
            word |= bits_of(bytes + first + i) << i;
        for (; i < here; i++)
            word |= static_cast<uint32_t>(bytes[first + i]) << i;
        *to = word;
    }
}

class CudaOps final : public PictureOps {
public:
    CudaOps(const pixels::PictureFormat &format, const Place &place);

    std::unique_ptr<Frame> make_frame() override;
    void use(Painter *painter) override { excerpts_.use(painter); }
    void use_on_device(DevicePainter *painter) override { excerpts_.use(painter); }

    void import(const pixels::ConstPicture &picture, const clv_mask *mask, Frame &frame) override;
    const clv_mask *host_mask() override;
    void reduced_luma(const pixels::ConstPicture &picture, uint8_t *to) override;

    void copy(const Frame &from, Frame &to) override;
    void pad(Frame &frame) override;

    void reset_light(int slot) override { fresh_ |= 1U << slot; }
    void match_lights(const Frame &now, const Frame *previous, const Field &back,
                      std::span<const LightTask> tasks) override;
    void draw(const Blocks &blocks, std::span<const Source, kSlots> slots, Frame &canvas) override;
    void overlay(const Blocks &blocks, const Frame &canvas, Frame &picture) override;
    void diffuse(const Blocks &blocks, const Frame &now, Frame &canvas) override;
    void paint(Frame &picture, const Box &box, const uint8_t *hole) override;

    void reset_membrane() override;
    void update_membrane(const Blocks &blocks, const Frame &canvas, const Frame &now,
                         const Field &back) override;
    void compose(const Composition &composition, const pixels::Picture &output) override;

    size_t bytes() const override;

private:
    void read_back(const clv_mask *mask);
    void wait();
    LightJob job_of(const Frame &past, const Field &field, const Frame &now);
    void light();
    BlockMap map_of(const Blocks &blocks);
    void blend(const Composition &composition, const Outside &to);
    void send_out(const Frame &frame, const Outside &to);
    void annotate(const Composition &composition, const Outside &to);
    float maximum() const { return static_cast<float>(shape_.maximum()); }

    const pixels::PictureFormat format_;
    const Shape shape_;
    const Place place_;
    Kernels kernels_;
    Uploads uploads_;
    DevicePullPush pyramids_;
    DeviceMembrane membrane_;
    Excerpts excerpts_;

    // What comes back: reduced luma, then the mask's bits.
    int reduction_;
    int reduced_width_;
    int reduced_height_;
    Buffer back_;
    Pinned back_host_;
    Event arrived_;
    bool waiting_ = false;
    std::optional<clv_mask> mask_; ///< that is on the device
    std::vector<uint8_t> mask_bytes_;
    clv_mask mask_on_host_{};

    Buffer weights_; ///< of resampling
    Buffer lights_;
    uint32_t fresh_ = ~0U; ///< slots without a light
    std::vector<LightPlace> places_;
    std::vector<LightPoint> points_;
    std::vector<LightJob> jobs_; ///< that wait for draw()
    LightJob step_{};
    const Frame *now_ = nullptr;

    int64_t version_ = -1; ///< of the blocks that are on the device
    BlockMap map_{};
    Buffer depth_;

    // For `annotate`, made when needed.
    std::unique_ptr<Frame> result_;
    std::unique_ptr<Frame> result_host_;
};

CudaOps::CudaOps(const pixels::PictureFormat &format, const Place &place)
    : format_(format), shape_(shape_of(format)), place_(place),
      kernels_(place, shape_.wide(), light_bytes(shape_)), uploads_(place, upload_bytes(shape_)),
      pyramids_(place, kernels_), membrane_(place, shape_, kernels_),
      excerpts_(place, shape_, kernels_, pyramids_), reduction_(reduction_of(format.width, format.height)),
      reduced_width_(reduced_size(format.width, reduction_)),
      reduced_height_(reduced_size(format.height, reduction_)), arrived_(place),
      weights_(place, size_t{kPhases} * 8 * sizeof(float)),
      lights_(place, size_t{kSlots} * 3 * sizeof(LightValue)),
      depth_(place, static_cast<size_t>(format.width) * static_cast<size_t>(format.height)) {
    clv::cuda::copy_to_device_async(place_, weights_.get(), resampling_weights(), weights_.bytes());
    read_back(nullptr);
}

std::unique_ptr<Frame> CudaOps::make_frame() {
    const auto memory = std::make_shared<Buffer>(place_, Frame::sample_bytes(shape_));
    return std::make_unique<Frame>(shape_, std::shared_ptr<uint8_t>(memory, memory->get<uint8_t>()));
}

size_t CudaOps::bytes() const {
    return uploads_.bytes() + pyramids_.bytes() + membrane_.bytes() + excerpts_.bytes() + back_.bytes() +
           back_host_.bytes() + mask_bytes_.size() + weights_.bytes() + lights_.bytes() + depth_.bytes() +
           (result_ ? result_->bytes() + result_host_->bytes() : 0);
}

// ------------------------------------------------------------------------------------- a picture comes in

/// Makes room for what comes back with such a mask.
void CudaOps::read_back(const clv_mask *mask) {
    const size_t words =
        mask ? static_cast<size_t>(mask->width + kWord - 1) / kWord * static_cast<size_t>(mask->height) : 0;
    const size_t luma = static_cast<size_t>(reduced_width_) * static_cast<size_t>(reduced_height_);
    const size_t bytes = (luma + 15) / 16 * 16 + words * sizeof(uint32_t);
    if (bytes <= back_.bytes())
        return;
    back_ = {};
    back_host_ = {};
    back_ = Buffer(place_, bytes);
    back_host_ = Pinned(place_, bytes);
}

void CudaOps::import(const pixels::ConstPicture &picture, const clv_mask *mask, Frame &frame) {
    const Current current(place_);
    const Layout layout = layout_of(frame);
    const Outside from = outside_of(format_, picture);
    launch(kernels_.import_frame, (shape_.width + 2 * kBorder + 7) / 8, shape_.height + 2 * kBorder, 3,
           ImportParams{from, frame.data(), layout}, place_);

    mask_.reset();
    if (mask && mask->memory == CLV_MEMORY_CUDA)
        mask_ = *mask;
    read_back(mask_ ? &*mask_ : nullptr);
    const size_t luma = static_cast<size_t>(reduced_width_) * static_cast<size_t>(reduced_height_);
    const size_t bits_at = (luma + 15) / 16 * 16;
    const int extra = format_.bit_depth <= 8 ? 0 : format_.msb_aligned ? 8 : format_.bit_depth - 8;
    const float scale = 1.0F / (static_cast<float>(reduction_ * reduction_) * static_cast<float>(1 << extra));
    launch(kernels_.reduce, reduced_width_, reduced_height_, 1,
           ReduceParams{from.data[0], from.stride[0], reduction_, scale, reduced_width_, reduced_height_,
                        back_.get<uint8_t>()},
           place_);
    size_t bytes = luma;
    if (mask_) {
        const int words = (mask_->width + kWord - 1) / kWord;
        launch(kernels_.mask, words * kWord, mask_->height, 1,
               MaskParams{mask_->data, mask_->stride, mask_->width, mask_->height, words,
                          reinterpret_cast<uint32_t *>(back_.get<uint8_t>() + bits_at)},
               place_);
        bytes = bits_at + static_cast<size_t>(words) * static_cast<size_t>(mask_->height) * sizeof(uint32_t);
    }
    clv::cuda::copy_to_host_async(place_, back_host_.get(), back_.get(), bytes);
    arrived_.record();
    waiting_ = true;
}

void CudaOps::wait() {
    if (waiting_)
        clv::cuda::synchronise(arrived_);
    waiting_ = false;
}

const clv_mask *CudaOps::host_mask() {
    if (!mask_)
        return nullptr;
    wait();
    const auto width = static_cast<size_t>(mask_->width);
    const auto height = static_cast<size_t>(mask_->height);
    const size_t words = (width + kWord - 1) / kWord;
    const size_t luma = static_cast<size_t>(reduced_width_) * static_cast<size_t>(reduced_height_);
    const auto *bits = reinterpret_cast<const uint32_t *>(back_host_.get<uint8_t>() + (luma + 15) / 16 * 16);
    mask_bytes_.resize(width * height);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            mask_bytes_[y * width + x] = (bits[y * words + x / kWord] >> (x % kWord) & 1) != 0 ? 255 : 0;
    mask_on_host_ = {mask_bytes_.data(), mask_->width, mask_->width, mask_->height, CLV_MEMORY_HOST};
    return &mask_on_host_;
}

void CudaOps::reduced_luma(const pixels::ConstPicture & /*picture*/, uint8_t *to) {
    wait();
    std::memcpy(to, back_host_.get(),
                static_cast<size_t>(reduced_width_) * static_cast<size_t>(reduced_height_));
}

void CudaOps::copy(const Frame &from, Frame &to) {
    clv::cuda::copy_on_device_async(place_, to.data(), from.data(), from.sample_bytes());
    to.copy_knowledge(from);
}

void CudaOps::pad(Frame &frame) {
    const Current current(place_);
    launch(kernels_.pad, shape_.width + 2 * kBorder, shape_.height + 2 * kBorder, 3,
           PadParams{frame.data(), layout_of(frame)}, place_);
}

// ---------------------------------------------------------------------------------------- what is remembered

LightJob CudaOps::job_of(const Frame &past, const Field &field, const Frame &now) {
    find_light_places(past, field, now, places_);
    LightJob job{};
    if (places_.size() < kEnoughPlaces)
        return job;
    job.past = past.data();
    job.first = static_cast<uint32_t>(points_.size());
    job.count = static_cast<uint32_t>(places_.size());
    for (const LightPlace &place : places_)
        points_.push_back({{place.way.x(), place.way.y()},
                           static_cast<uint16_t>(place.column),
                           static_cast<uint16_t>(place.row)});
    return job;
}

void CudaOps::match_lights(const Frame &now, const Frame *previous, const Field &back,
                           std::span<const LightTask> tasks) {
    uploads_.begin();
    version_ = -1;
    points_.clear();
    jobs_.clear();
    step_ = {};
    now_ = &now;
    if (previous && !tasks.empty())
        step_ = job_of(*previous, back, now);
    for (const LightTask &task : tasks) {
        LightJob job{};
        if (task.match)
            job = job_of(*task.source.frame, *task.source.field, now);
        if (job.count == 0 && step_.count == 0)
            continue; // the light stays
        job.slot = task.slot;
        job.fresh = (fresh_ >> task.slot & 1) != 0;
        jobs_.push_back(job);
    }
}

/// What match_lights() prepared; its uploads go with those of draw().
void CudaOps::light() {
    if (jobs_.empty()) {
        uploads_.send();
        return;
    }
    const Upload<LightPoint> points = uploads_.reserve<LightPoint>(points_.size());
    std::copy(points_.begin(), points_.end(), points.host);
    const Upload<LightJob> jobs = uploads_.reserve<LightJob>(jobs_.size());
    std::copy(jobs_.begin(), jobs_.end(), jobs.host);
    uploads_.send();
    const LightParams params{jobs.device,
                             points.device,
                             step_,
                             now_->data(),
                             weights_.get<float>(),
                             layout_of(*now_),
                             shape_.unit(),
                             static_cast<int>(most_light_places(shape_)),
                             lights_.get<LightValue>()};
    kernels_.lights.launch(dim3(static_cast<unsigned>(jobs_.size()), 3), dim3(kLightThreads), params,
                           clv::cuda::stream_of(place_));
    for (const LightJob &job : jobs_)
        fresh_ &= ~(1U << job.slot);
    jobs_.clear();
}

BlockMap CudaOps::map_of(const Blocks &blocks) {
    if (blocks.version() != version_) {
        const Upload<uint8_t> upload = uploads_.reserve<uint8_t>(blocks.bytes());
        if (blocks.bytes() > 0)
            std::memcpy(upload.host, blocks.row(blocks.box().y0), blocks.bytes());
        map_ = {upload.device, area_of(blocks.box())};
        version_ = blocks.version();
    }
    return map_;
}

void CudaOps::draw(const Blocks &blocks, std::span<const Source, kSlots> slots, Frame &canvas) {
    const Current current(place_);
    const Box &box = blocks.box();
    DrawParams params{};
    params.blocks = map_of(blocks);
    for (size_t i = 0; i < kSlots && !box.empty(); i++) {
        if (!slots[i].frame)
            continue;
        const Field &field = *slots[i].field;
        const NodeBox nodes(field, {2 * box.x0, 2 * box.y0, 2 * box.x1, 2 * box.y1});
        const Upload<Way> ways = uploads_.reserve<Way>(nodes.count());
        nodes.copy(field, ways.host);
        params.slots[i] = {slots[i].frame->data(), ways.device};
        params.nodes = nodes.at(nullptr);
        params.field_columns = field.columns();
        params.field_rows = field.rows();
    }
    light();
    if (box.empty())
        return;
    params.fresh = fresh_;
    params.weights = weights_.get<float>();
    params.lights = lights_.get<LightValue>();
    params.maximum = maximum();
    params.canvas = canvas.data();
    params.layout = layout_of(canvas);
    launch(kernels_.draw, 2 * box.width(), 2 * box.height(), 3, params, place_);
}

void CudaOps::overlay(const Blocks &blocks, const Frame &canvas, Frame &picture) {
    const Current current(place_);
    const BlockMap map = map_of(blocks);
    uploads_.send();
    launch(kernels_.overlay, 2 * blocks.box().width(), 2 * blocks.box().height(), 3,
           OverlayParams{canvas.data(), picture.data(), layout_of(canvas), map}, place_);
}

void CudaOps::diffuse(const Blocks &blocks, const Frame &now, Frame &canvas) {
    const Box box = blocks.unknown_box().grown(kDiffuseAround, shape_.block_columns(), shape_.block_rows());
    if (box.empty())
        return;
    const Current current(place_);
    const BlockMap map = map_of(blocks);
    uploads_.send();
    int width[3];
    int height[3];
    for (int plane = 0; plane < 3; plane++) {
        const int scale = plane == 0 ? 2 : 1;
        width[plane] = std::min(scale * box.x1, shape_.plane_width(plane)) - scale * box.x0;
        height[plane] = std::min(scale * box.y1, shape_.plane_height(plane)) - scale * box.y0;
    }
    const DiffuseParams params{map,           area_of(box),      now.data(),
                               canvas.data(), layout_of(canvas), pyramids_.plan(width, height)};
    launch(kernels_.diffuse_in, width[0], height[0], 3, params, place_);
    pyramids_.fill(static_cast<float>(1 << (shape_.bit_depth - 1)));
    launch(kernels_.diffuse_out, width[0], height[0], 3, params, place_);
}

void CudaOps::paint(Frame &picture, const Box &box, const uint8_t *hole) {
    const Current current(place_);
    excerpts_.paint(picture, box, hole);
}

void CudaOps::reset_membrane() {
    membrane_.reset();
}

void CudaOps::update_membrane(const Blocks &blocks, const Frame &canvas, const Frame &now,
                              const Field &back) {
    const Current current(place_);
    membrane_.update(map_of(blocks), canvas, now, back, pyramids_, uploads_);
}

// --------------------------------------------------------------------------------------------- the result

/// Writes the hole's samples, whatever `to` is.
void CudaOps::blend(const Composition &composition, const Outside &to) {
    const Hole &hole = composition.hole;
    const Box &box = hole.box;
    if (box.empty())
        return;
    const int words = (box.width() + kWord - 1) / kWord;
    const Upload<uint32_t> bits =
        uploads_.reserve<uint32_t>(static_cast<size_t>(words) * static_cast<size_t>(box.height()));
    for (int y = box.y0; y < box.y1; y++)
        pack_bits(&hole.luma[static_cast<size_t>(y) * static_cast<size_t>(shape_.width) +
                             static_cast<size_t>(box.x0)],
                  box.width(), bits.host + static_cast<ptrdiff_t>(y - box.y0) * words);
    uploads_.send();
    const int limit = composition.feather + 1;
    launch(kernels_.depth, box.width(), box.height(), 1,
           DepthParams{bits.device, words, area_of(box), shape_.width, shape_.height, limit,
                       depth_.get<uint8_t>()},
           place_);
    launch(kernels_.blend, (box.x1 + 1) / 2 - box.x0 / 2, (box.y1 + 1) / 2 - box.y0 / 2, 1,
           BlendParams{composition.now.data(), composition.canvas.data(), layout_of(composition.now),
                       depth_.get<uint8_t>(), area_of(box), limit, 1 / static_cast<float>(limit),
                       membrane_.surface(), membrane_.columns(), membrane_.rows(), maximum(), to},
           place_);
}

void CudaOps::send_out(const Frame &frame, const Outside &to) {
    launch(kernels_.export_frame, (shape_.width + 7) / 8, shape_.height, 3,
           ExportParams{frame.data(), layout_of(frame), to}, place_);
}

/// By way of the host: for people who tune the filter.
void CudaOps::annotate(const Composition &composition, const Outside &to) {
    if (!result_) {
        result_ = make_frame();
        result_host_ = std::make_unique<Frame>(shape_);
    }
    copy(composition.now, *result_);
    if (composition.fill)
        blend(composition, outside_of(*result_));
    clv::cuda::copy_to_host_async(place_, result_host_->data(), result_->data(), result_->sample_bytes());
    clv::cuda::synchronise(place_);
    result_host_->copy_knowledge(*result_);
    composition.annotate(*result_host_);
    clv::cuda::copy_to_device_async(place_, result_->data(), result_host_->data(), result_->sample_bytes());
    send_out(*result_, to);
}

void CudaOps::compose(const Composition &composition, const pixels::Picture &output) {
    const Current current(place_);
    const Outside to = outside_of(format_, output);
    if (composition.annotate) {
        annotate(composition, to);
    } else {
        send_out(composition.now, to);
        if (composition.fill)
            blend(composition, to);
    }
    uploads_.end();
}

} // namespace

std::unique_ptr<PictureOps> make_cuda_ops(const pixels::PictureFormat &format, const Place &place) {
    return std::make_unique<CudaOps>(format, place);
}

} // namespace clv::mesh::cuda
