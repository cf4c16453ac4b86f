#include "plan/winograd.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/buffer.h"
#include "kernels/winograd/pack.h"
#include "plan/lower.h"

namespace sn {
namespace {

// Cycles of one core, as in choose.cpp; constants fitted by eye to single layers on the machines of
// docs/performance.md.
constexpr double kFarByte = 0.14;    // a byte from beyond L2, what prefetching hides taken off
constexpr double kInputCycles = 7;   // a vector of tiles of a channel transformed, for each frequency
constexpr double kOutputCycles = 5;  // a tile of a vector of filters transformed and transposed, for each frequency
constexpr double kL1Share = 0.7;     // of L1 for the weights and tiles of a k-block
constexpr double kL2Share = 0.9;     // of L2 for a block's input and sums
constexpr int kMostTiles = 128;      // in a block: more save no more loads of weights that matter

// Everything a step needs, in one allocation that the step owns.
struct Layer {
  WinogradParams p{};
  AlignedBuffer u, bias;
};

bool fits(const Node& node, const Shape& x, const Shape& w, WinogradKernel kernel) {
  const auto all = [&](const char* name, std::int64_t value) {
    const auto& v = node.ints(name);
    return std::all_of(v.begin(), v.end(), [&](std::int64_t i) { return i == value; });
  };
  if (node.op != Op::Conv || x.size() != 4 || node.i("groups") != 1 || !all("dilation", 1)) return false;
  const WinogradShape shape = winograd_shape(kernel);
  const auto window = [&](std::int64_t k) {
    return shape.stride == 1 ? k == shape.taps : k > shape.taps && k <= shape.taps * shape.stride;
  };
  return all("stride", shape.stride) && window(w[2]) && window(w[3]);
}

// Nonzero weights of the filter that has fewest, filters of zeros aside.
std::int64_t least_terms(const Value& w) {
  const std::int64_t terms = w.size() / w.shape[0];
  std::int64_t least = terms;
  for (const float* row = w.data.get(); row < w.data.get() + w.size(); row += terms) {
    const std::int64_t zeros = std::count(row, row + terms, 0.0f);
    if (zeros != terms) least = std::min(least, terms - zeros);
  }
  return least;
}

// Cycles of a sample for p's blocks and chunks; of all threads, idle ones too.
double model(const WinogradParams& p, int out, int in, int lanes, std::int64_t batch, int threads) {
  const double frequencies = static_cast<double>(in) * in, C = p.channels,
               L2 = kL2Share * static_cast<double>(l2_bytes());
  const double vectors = static_cast<double>(p.padded_filters) / lanes,
               across = std::min(p.panel / lanes, p.padded_filters / lanes);
  const double panels = std::ceil(static_cast<double>(p.padded_filters) / p.panel);
  const double rows = static_cast<double>(batch) * p.tiles_down;
  const double blocks = std::ceil(rows / p.block_rows) * p.row_splits;
  const double tiles = static_cast<double>(p.block_rows) * p.block_columns;
  const double parts = std::ceil(tiles / winograd_tiles(lanes)), height = tiles / parts;
  const double passes = vector_passes(lanes);
  const double step = std::max({passes * height * across / 2, passes * (height + across) / 2, 4.0});
  const double multiply = frequencies * C * parts * step * vectors / across;
  const double input =
      passes * frequencies * kInputCycles * C * p.block_rows * std::ceil(static_cast<double>(p.block_columns) / lanes);
  const double output = passes * frequencies * kOutputCycles * vectors * tiles;
  const double u = 4 * frequencies * C * p.padded_filters, v = 4 * frequencies * C * tiles;
  const double pooled = 4.0 * static_cast<double>(winograd_scratch(p, out, in).rows);
  const double held = v + 4 * frequencies * tiles * p.panel + pooled;
  const double far = (u > L2 / 2 ? u : 0) + (held > L2 ? v * (panels + 1) : 0);
  const double task = input + (multiply + output + kFarByte * far) / p.chunks;
  return std::ceil(blocks * p.chunks / threads) * threads * task / static_cast<double>(batch);
}

void set_blocks(WinogradParams& p, std::int32_t rows, std::int32_t columns) {
  p.block_rows = rows;
  p.block_columns = columns;
  p.row_splits = (p.tiles_across + columns - 1) / columns;
}

// Sizes of the layer and the cheapest blocks: several rows of tiles, or an even part of one. Where they leave threads
// idle, panels may be split too, each chunk of which transforms the input anew.
// Pooling that reaches beyond a tile wants whole rows, in bands: two a thread, as a core may be slow. No block_rows:
// rows are too wide for that.
WinogradParams plan(const LowerContext& context, const Node& node, WinogradKernel kernel, const WinogradPool& pool,
                    double* cycles) {
  const Shape &x = input_of(context, node, 0).shape, &y = output_of(context, node).shape;
  const auto narrow = [](std::int64_t v) { return static_cast<std::int32_t>(v); };
  const WinogradShape shape = winograd_shape(kernel);
  const int out = shape.out, lanes = winograd_lanes(context.isa);
  WinogradParams p{};
  p.channels = narrow(x[1] * shape.stride * shape.stride), p.ih = narrow(x[2]), p.iw = narrow(x[3]);
  p.filters = narrow(y[1]), p.oh = narrow(y[2]), p.ow = narrow(y[3]);
  p.top = narrow(node.ints("padding")[0]), p.left = narrow(node.ints("padding")[1]);
  p.tiles_down = (p.oh + out - 1) / out, p.tiles_across = (p.ow + out - 1) / out;
  p.panel = winograd_panel(context.isa);
  p.padded_filters = (p.filters + lanes - 1) / lanes * lanes;
  p.pool = pool;
  if (pool.size > 2 || pool.top > 0 || pool.left > 0) {
    p.bands = context.threads == 1 ? 1 : std::min(2 * context.threads, p.tiles_down);
  }
  WinogradParams best{};
  *cycles = std::numeric_limits<double>::infinity();
  const auto consider = [&](std::int32_t rows, std::int32_t columns) {
    set_blocks(p, rows, columns);
    const int panels = (p.padded_filters + p.panel - 1) / p.panel;
    for (const int chunks : {1, std::min(context.threads, panels)}) {
      if (p.bands > 0 && (chunks > 1 || p.row_splits > 1)) continue;
      p.chunks = chunks;
      const double c = model(p, out, shape.in(), lanes, context.batch, context.threads);
      if (c < *cycles) *cycles = c, best = p;
    }
  };
  for (std::int32_t splits = 1; splits <= p.tiles_across; splits *= 2) {
    const std::int32_t columns = (p.tiles_across + splits - 1) / splits;
    if (columns <= kMostTiles) consider(1, columns);
    if (columns <= winograd_tiles(lanes)) break;
  }
  const std::int64_t most = std::min<std::int64_t>(context.batch * p.tiles_down, kMostTiles / p.tiles_across);
  for (std::int32_t rows = 2; rows <= most; ++rows) consider(rows, p.tiles_across);
  if (best.block_rows == 0) return best;
  const double tiles = static_cast<double>(best.block_rows) * best.block_columns;
  const double fits = kL1Share * static_cast<double>(l1_bytes()) / (sizeof(float) * (tiles + best.panel));
  const int deep = std::max(static_cast<int>(fits), kWinogradDepth), parts = (best.channels + deep - 1) / deep;
  best.kc = ((best.channels + parts - 1) / parts + kWinogradDepth - 1) / kWinogradDepth * kWinogradDepth;
  return best;
}

std::size_t scratch_bytes(const WinogradParams& p, WinogradKernel kernel) {
  const WinogradShape shape = winograd_shape(kernel);
  return static_cast<std::size_t>(winograd_scratch(p, shape.out, shape.in()).floats()) * sizeof(float);
}

void set_epilogue(WinogradParams& p, Epilogue e) {
  p.low = -std::numeric_limits<float>::infinity(), p.high = std::numeric_limits<float>::infinity();
  if (e.act == Act::relu) p.low = 0;
  if (e.act == Act::clip) p.low = e.a, p.high = e.b;
  if (e.act != Act::none && e.act != Act::relu && e.act != Act::clip) p.after = e;
}

}  // namespace

std::vector<WinogradCandidate> winograd_candidates(const LowerContext& context, const Node& node) {
  std::vector<WinogradCandidate> out;
  const Value &x = input_of(context, node, 0), &w = input_of(context, node, 1);
  if (!context.winograd) return out;
  std::int64_t least = -1;
  for (const WinogradKernel kernel : {WinogradKernel::f4x4, WinogradKernel::f2x2, WinogradKernel::f4x4s2}) {
    if (!fits(node, x.shape, w.shape, kernel)) continue;
    if (least < 0) least = least_terms(w);
    const KernelEntry* entry = winograd_kernel(kernel, context.isa);
    if (!entry || (context.kernel != entry->name && least < winograd_least_terms(kernel))) continue;
    WinogradCandidate c{kernel, entry->name, 0};
    plan(context, node, kernel, {}, &c.cycles);
    if (context.kernel == entry->name) return {c};
    out.push_back(c);
  }
  std::sort(out.begin(), out.end(),
            [](const WinogradCandidate& a, const WinogradCandidate& b) { return a.cycles < b.cycles; });
  return out;
}

Step lower_winograd(const LowerContext& context, const Node& node, WinogradKernel kernel) {
  auto layer = std::make_shared<Layer>();
  WinogradParams& p = layer->p;
  double cycles = 0;
  p = plan(context, node, kernel, {}, &cycles);
  const Value& w = input_of(context, node, 1);
  layer->u = pack_winograd(w.data.get(), static_cast<int>(w.shape[2]), static_cast<int>(w.shape[3]), p, kernel);
  p.u = layer->u.as<float>();
  layer->bias = AlignedBuffer(static_cast<std::size_t>(p.padded_filters) * sizeof(float));
  float* bias = layer->bias.as<float>();
  std::fill(bias, bias + p.padded_filters, 0.0f);
  if (node.has_input(2)) {
    const float* b = input_of(context, node, 2).data.get();
    std::copy(b, b + p.filters, bias);
  }
  p.bias = bias;
  p.has_residual = node.has_input(3);
  set_epilogue(p, epilogue_of(node));

  Step step = make_step(context, node, winograd_kernel(kernel, context.isa), winograd_tasks);
  step.scratch_bytes = scratch_bytes(p, kernel);
  step.info.packed_bytes = layer->u.size() + layer->bias.size();
  step.params = std::shared_ptr<const void>(std::move(layer), &p);
  return step;
}

bool join_max_pool(const LowerContext& context, const Node& node, const Node& pool, WinogradKernel kernel, Step& step) {
  const auto all = [&](const char* name, std::int64_t value) {
    const auto& v = pool.ints(name);
    return v.size() == 2 && v[0] == value && v[1] == value;
  };
  const auto conv = std::static_pointer_cast<const WinogradParams>(step.params);
  const Shape& y = output_of(context, pool).shape;
  const auto& padding = pool.ints("padding");
  const bool square = all("kernel", 2) || all("kernel", 3);
  if (!square || !all("stride", 2) || !all("dilation", 1) || conv->has_residual || conv->after.act != Act::none) {
    return false;
  }
  const auto narrow = [](std::int64_t v) { return static_cast<std::int32_t>(v); };
  const WinogradPool q{narrow(pool.ints("kernel")[0]), narrow(padding[0]), narrow(padding[1]), narrow(y[2]),
                       narrow(y[3])};
  // A window of padding alone has no pixel to begin with.
  if (q.top >= q.size || q.left >= q.size || (q.oh - 1) * 2 - q.top >= conv->oh ||
      (q.ow - 1) * 2 - q.left >= conv->ow) {
    return false;
  }
  double cycles = 0;
  WinogradParams p = plan(context, node, kernel, q, &cycles);
  if (p.block_rows == 0) return false;  // rows too wide for blocks of whole ones
  p.u = conv->u, p.bias = conv->bias, p.low = conv->low, p.high = conv->high;
  struct Joined {
    WinogradParams p;
    std::shared_ptr<const void> weights;
  };
  auto joined = std::make_shared<Joined>(Joined{p, conv});
  step.params = std::shared_ptr<const void>(joined, &joined->p);
  step.scratch_bytes = scratch_bytes(p, kernel);
  step.out = pool.output;
  return true;
}

}  // namespace sn
