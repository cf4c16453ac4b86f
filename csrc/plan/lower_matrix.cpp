// Conv (but depthwise) and Linear -> panel kernels: build the problem, rank candidates, pack, time, keep the best.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "kernels/panel/pack.h"
#include "plan/choose.h"
#include "plan/lower.h"
#include "plan/tune.h"
#include "plan/winograd.h"

namespace sn {
namespace {

// Candidates worth timing: the model is good to about 20 %, and neighbours in width differ by less.
constexpr std::size_t kTimedSparse = 6, kTimedDense = 4;
// A dense layer whose model cost is this many times the best is not timed, nor a sparse one.
constexpr double kHopeless = 2.5;
// Nor is anything that much behind the best of Winograd: its model is good to a quarter, and large layers run long.
constexpr double kBeaten = 1.6;
// Threads' time over work's, when tiles are dealt out evenly: 4 of 7 tiles on one of two threads is 1.14, 2 of 3
// is 1.33.
constexpr double kIdleLimit = 1.2;

// A tile's padded input in scratch: 1 GiB. Real layers need kilobytes; a hostile dilation could ask for all memory.
constexpr std::int64_t kLargestStrip = std::int64_t{1} << 28;

// Everything a matrix step needs, in one allocation that the step owns.
struct Layer {
  MatrixProblem q{}, more{};
  std::shared_ptr<PackedMatrix> weights;
  std::vector<float> bias;
  std::vector<std::int32_t> chunk;
  // linear only
  std::int64_t inner = 1;  // rows of the matrix product a sample: x[N, inner..., K]
  std::int64_t vector_limit = 0;
  KernelFn vector_fn = nullptr, panel_fn = nullptr;
  TasksFn panel_tasks = nullptr;
};

std::int64_t linear_tasks(const void* params, std::int64_t batch) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  const std::int64_t rows = batch * l.inner;
  return rows <= l.vector_limit ? l.q.chunks : l.panel_tasks(&l.q, rows);
}

void linear_run(const void* params, const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  KernelArgs rows = args;
  rows.batch = args.batch * l.inner;
  (rows.batch <= l.vector_limit ? l.vector_fn : l.panel_fn)(&l.q, rows, begin, end);
}

std::int64_t conv_tasks(const void* params, std::int64_t batch) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  return l.panel_tasks(&l.q, batch);
}

void conv_run(const void* params, const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const Layer& l = *static_cast<const Layer*>(params);
  l.panel_fn(&l.q, args, begin, end);
}

void set_epilogue(MatrixProblem& q, const Node& node) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  q.epilogue = epilogue_of(node);
  q.lo = -inf, q.hi = inf;
  if (q.epilogue.act == Act::relu) q.lo = 0;
  if (q.epilogue.act == Act::clip) q.lo = q.epilogue.a, q.hi = q.epilogue.b;
  q.act_after = q.epilogue.act != Act::none && q.epilogue.act != Act::relu && q.epilogue.act != Act::clip;
  q.has_residual = node.has_input(3);
}

MatrixProblem conv_problem(const Graph& graph, const Node& node) {
  const Shape& x = graph.values[node.inputs[0]].shape;
  const Shape& w = graph.values[node.inputs[1]].shape;
  const Shape& y = graph.values[node.output].shape;
  const bool two = x.size() == 4;
  const auto& stride = node.ints("stride");
  const auto& dilation = node.ints("dilation");
  const auto& padding = node.ints("padding");
  const auto narrow = [](std::int64_t v) { return static_cast<std::int32_t>(v); };
  MatrixProblem q{};
  q.groups = narrow(node.i("groups"));
  q.M = narrow(w[0] / q.groups);
  q.C = narrow(w[1]);
  q.H = two ? narrow(x[2]) : 1;
  q.W = narrow(x.back());
  q.OH = two ? narrow(y[2]) : 1;
  q.OW = narrow(y.back());
  q.KH = two ? narrow(w[2]) : 1;
  q.KW = narrow(w.back());
  q.SH = two ? narrow(stride[0]) : 1;
  q.SW = narrow(stride.back());
  q.DH = two ? narrow(dilation[0]) : 1;
  q.DW = narrow(dilation.back());
  q.PT = two ? narrow(padding[0]) : 0;
  q.PL = narrow(padding[two ? 1 : 0]);
  q.K = q.C * q.KH * q.KW;
  q.pitch = q.OW;
  const bool padded = std::any_of(padding.begin(), padding.end(), [](std::int64_t p) { return p != 0; });
  if (q.KH * q.KW == 1 && q.SH == 1 && q.SW == 1 && !padded) {
    q.W = q.OW = q.pitch = q.H * q.W;
    q.H = q.OH = 1;
    q.flat = true;
  }
  q.strip = 1;
  if (strip_floats(q, kMaxTile) > kLargestStrip) {
    fail(ErrorCode::Shape, "node '", node.name, "': the window with its dilation and padding spans ",
         strip_floats(q, kMaxTile), " padded pixels of all channels, more than the ", kLargestStrip,
         " that kernels can hold");
  }
  // What one image reads and writes; where that exceeds L2, neither is there when its turn comes.
  const std::int64_t in = static_cast<std::int64_t>(q.groups) * q.C * q.H * q.W;
  const std::int64_t out = static_cast<std::int64_t>(q.groups) * q.M * q.OH * q.OW * (node.has_input(3) ? 2 : 1);
  q.far = static_cast<std::size_t>(in + out) * sizeof(float) > l2_bytes();
  q.distant = is_distant(graph.values[node.inputs[0]]);
  return q;
}

// Row blocks split into `chunks` of about equal work, given the entries of each.
std::vector<std::int32_t> split_rows(const std::vector<std::int64_t>& entries, int chunks) {
  constexpr double kRowWork = 4;  // in entries: even an empty row has its sums to store
  const int rows = static_cast<int>(entries.size());
  const double total = kRowWork * rows + static_cast<double>(std::accumulate(entries.begin(), entries.end(), 0LL));
  double sum = 0;
  std::vector<std::int32_t> out{0};
  for (int rb = 0; rb < rows; ++rb) {
    sum += kRowWork + static_cast<double>(entries[rb]);
    const int done = static_cast<int>(out.size());
    if (done < chunks && sum >= total * done / chunks) out.push_back(rb + 1);
  }
  if (out.back() != rows) out.push_back(rows);
  return out;
}

// Chunks that begin at multiples of `unit`.
void align_chunks(std::vector<std::int32_t>& chunk, std::int32_t unit) {
  for (std::size_t i = 1; i + 1 < chunk.size(); ++i) chunk[i] -= chunk[i] % unit;
  chunk.erase(std::unique(chunk.begin(), chunk.end()), chunk.end());
}

struct Builder {
  const LowerContext& context;
  const Node& node;
  const float* w;
  MatrixProblem shape;
  std::int64_t inner;
  Step build(const Candidate& c) const;
};

Step Builder::build(const Candidate& c) const {
  const PanelVariant& v = c.variant;
  auto layer = std::make_shared<Layer>();
  layer->q = shape;
  MatrixProblem& q = layer->q;
  if (shape.more) layer->more = *shape.more, q.more = &layer->more;
  q.pitch = c.pitch;
  q.layout = c.layout;
  q.strip = strip_tiles(q, v);
  layer->bias.assign(static_cast<std::size_t>(q.groups) * q.M, 0.0f);
  const auto add_bias = [&](const Node& of) {
    if (!of.has_input(2)) return;
    const std::shared_ptr<const float> bias = context.graph.values[of.inputs[2]].dense();
    for (std::size_t i = 0; i < layer->bias.size(); ++i) layer->bias[i] += bias.get()[i];
  };
  add_bias(node);
  if (context.addend) add_bias(*context.addend);
  q.bias = layer->bias.data();
  layer->panel_fn = v.fn;
  layer->panel_tasks = v.tasks;
  layer->inner = inner;

  std::string kernel = v.name;
  if (c.vector.fn) {
    layer->vector_fn = c.vector.fn;
    layer->vector_limit = context.kernel == c.vector.name ? std::numeric_limits<std::int64_t>::max() : kVectorBatch;
    if (context.batch * inner <= layer->vector_limit) kernel = c.vector.name;
  }
  // Rows are split, one chunk a thread, only where the tiles leave a thread idle for long: each chunk packs its tile
  // anew. The vector kernels pack nothing, so theirs are small enough to even out a slow core.
  int chunks = 1;
  if (context.threads > 1) {
    q.chunks = 1;
    const std::int64_t rows = context.batch * inner, threads = context.threads;
    const std::int64_t tiles = v.tasks(&q, rows);
    if (q.linear && rows <= layer->vector_limit) {
      chunks = 4 * context.threads;
    } else if (static_cast<double>((tiles + threads - 1) / threads * threads) >
               kIdleLimit * static_cast<double>(tiles)) {
      chunks = context.threads;
    }
  }
  std::vector<std::int64_t> entries(static_cast<std::size_t>((q.M + v.br - 1) / v.br), q.K);
  if (v.sparse && chunks > 1) entries = Occupied(w, q.groups, q.M, q.K).count_rows(v.br, v.bc);
  layer->chunk = split_rows(entries, chunks);
  if (q.linear && !v.sparse) align_chunks(layer->chunk, kGemvStreams);
  const std::int32_t slice = slice_rows(v.bc, v.lanes);
  if (c.vector.sell) align_chunks(layer->chunk, slice);
  std::vector<std::uint16_t> places;
  if ((v.sparse && !q.linear) || in_place(q)) places = panel_places(q, v.tile(), v.lanes, c.kc);
  layer->weights = v.sparse ? pack_sparse(w, q.groups, q.M, q.K, v.br, v.bc, c.kc, layer->chunk, !q.linear, places)
                            : pack_dense(w, q.groups, q.M, q.K, v.br, c.kc, places);
  if (c.vector.sell) layer->weights = interleave_rows(*layer->weights, slice);
  q.w = layer->weights->view;
  if (q.linear) q.far = layer->weights->bytes() > l2_bytes();
  q.chunks = static_cast<std::int32_t>(layer->chunk.size()) - 1;
  q.chunk = layer->chunk.data();

  Step step;
  step.fn = q.linear ? linear_run : conv_run;
  step.tasks = q.linear ? linear_tasks : conv_tasks;
  step.scratch_bytes = panel_scratch_bytes(q, v);
  step.info.kernel = kernel;
  if (!q.linear) step.info.layout = layout_name(q.layout);
  step.info.packed_bytes = layer->weights->bytes() + layer->bias.size() * sizeof(float);
  step.params = std::move(layer);
  return step;
}

// Layers with equal keys are timed once: the same shapes, and counts of nonzero blocks within about 2 %.
std::string problem_key(const MatrixProblem& q, std::int64_t nnz, const BlockCounts& blocks, std::int64_t rows) {
  const auto bucket = [](std::int64_t n) { return std::lround(std::log1p(static_cast<double>(n)) * 50); };
  std::string key = std::to_string(bucket(nnz));
  for (const BlockCounts::Row& row : blocks.rows) key += "," + std::to_string(bucket(row.blocks));
  for (const std::int64_t v : {std::int64_t{q.groups}, std::int64_t{q.M}, std::int64_t{q.C}, std::int64_t{q.H},
                               std::int64_t{q.W}, std::int64_t{q.OH}, std::int64_t{q.OW}, std::int64_t{q.KH},
                               std::int64_t{q.KW}, std::int64_t{q.SH}, std::int64_t{q.SW}, std::int64_t{q.DH},
                               std::int64_t{q.DW}, std::int64_t{q.linear}, std::int64_t{q.has_residual}, rows}) {
    key += "," + std::to_string(v);
  }
  if (q.more) key += "," + std::to_string(q.more->C) + "," + std::to_string(q.more->W);
  return key;
}

// [w | v], rows side by side.
std::vector<float> side_by_side(const float* w, std::int32_t K, const float* v, std::int32_t L, std::int32_t M) {
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(M) * (K + L));
  for (std::int32_t m = 0; m < M; ++m) {
    out.insert(out.end(), w + std::int64_t{m} * K, w + std::int64_t{m + 1} * K);
    out.insert(out.end(), v + std::int64_t{m} * L, v + std::int64_t{m + 1} * L);
  }
  return out;
}

Step choose_and_build(const LowerContext& context, const Node& node, MatrixProblem q, std::int64_t inner) {
  const Value& weight = context.graph.values[node.inputs[1]];
  const float* w = weight.data.get();
  set_epilogue(q, node);
  MatrixProblem more{};
  std::vector<float> both;
  if (context.addend) {
    more = conv_problem(context.graph, *context.addend);
    both = side_by_side(w, q.K, context.graph.values[context.addend->inputs[1]].dense().get(), more.K, q.M);
    w = both.data();
    q.K += more.K;
    q.more = &more;
    q.has_residual = false;
  }
  Builder builder{context, node, w, q, inner};
  const BlockCounts blocks = count_block_shapes(w, q, context.isa);
  const std::int64_t rows = context.batch * inner, nnz = blocks.of(1, 1);
  std::vector<Candidate> ranked = rank_candidates(q, blocks, context.isa, rows, context.kernel, context.layout);
  if (q.linear) {
    ranked = rank_linear(std::move(ranked), q, blocks, vector_candidates(context.isa), rows, context.kernel);
  }

  std::vector<WinogradCandidate> winograd;
  if (!q.linear && ranked.front().variant.name != context.kernel) winograd = winograd_candidates(context, node);
  const bool only_winograd = !winograd.empty() && context.kernel == winograd.front().name;
  if (only_winograd) ranked.clear();

  const auto sample = [](const Value& v) { return static_cast<std::size_t>(v.size()); };
  const std::size_t in_floats =
      static_cast<std::size_t>(context.batch) *
      std::max({sample(context.graph.values[node.inputs[0]]), sample(context.graph.values[node.output]),
                static_cast<std::size_t>(more.C) * more.H * more.W});
  const std::size_t out_floats = static_cast<std::size_t>(context.batch) * sample(context.graph.values[node.output]);

  Step best;
  std::string why = "cost model";
  const std::string key = problem_key(q, nnz, blocks, rows);
  if (context.tuner && context.tuner->remembered.count(key)) {
    const Tuner::Choice& choice = context.tuner->remembered.at(key);
    for (const Candidate& c : ranked) {
      const bool same_tiles = choice.kc == c.kc && choice.pitch == c.pitch && choice.layout == c.layout;
      if (choice.kernel == c.variant.name && same_tiles && choice.vector == c.vector.fn) best = builder.build(c);
    }
    for (const WinogradCandidate& c : winograd) {
      if (choice.kernel == c.name) best = lower_winograd(context, node, c.kernel);
    }
    why = choice.why;
  }
  if (!best.fn && context.tuner && ranked.size() + winograd.size() > 1) {
    Contest contest(*context.tuner, context.batch, in_floats, out_floats);
    const double least =
        std::min(ranked.empty() ? 1e300 : ranked.front().cycles, winograd.empty() ? 1e300 : winograd.front().cycles);
    for (const WinogradCandidate& c : winograd) {
      if (c.cycles > kBeaten * least || !contest.time_left()) break;
      contest.enter(lower_winograd(context, node, c.kernel), {c.name, {}}, false);
    }
    std::size_t sparse = 0, dense = 0;
    for (const Candidate& c : ranked) {
      std::size_t& count = c.variant.sparse ? sparse : dense;
      if (count >= (c.variant.sparse ? kTimedSparse : kTimedDense)) continue;
      if (c.cycles > kHopeless * ranked.front().cycles || !contest.time_left()) break;
      if (!winograd.empty() && c.cycles > kBeaten * winograd.front().cycles) break;
      ++count;
      contest.enter(builder.build(c), {c.variant.name, {}, c.kc, c.pitch, c.layout, c.vector.fn}, c.variant.sparse);
      if (q.linear && count >= 3) break;
    }
    if (contest.best.fn) {
      best = std::move(contest.best);
      why = contest.choice.why;
      context.tuner->remembered.emplace(key, std::move(contest.choice));
    }
  }
  if (!best.fn && !winograd.empty() && (only_winograd || winograd.front().cycles < ranked.front().cycles)) {
    best = lower_winograd(context, node, winograd.front().kernel);
  }
  if (!best.fn) best = builder.build(ranked.front());
  for (const WinogradCandidate& c : winograd) {
    const bool free = context.kernel.empty() || context.kernel == c.name;
    if (context.pool && free && best.info.kernel == c.name) {
      join_max_pool(context, node, *context.pool, c.kernel, best);
    }
  }
  best.info.why = context.kernel == best.info.kernel ? "forced" : why;
  best.info.weights = std::int64_t{q.groups} * q.M * q.K;
  best.info.nnz = nnz;
  const double pixels = q.linear ? static_cast<double>(inner) : static_cast<double>(q.OH) * q.OW;
  best.info.macs = static_cast<double>(best.info.weights) * pixels;
  best.info.useful_macs = static_cast<double>(nnz) * pixels;
  best.in = {node.inputs[0]};
  if (context.addend) best.in.push_back(context.addend->inputs[0]);
  if (q.has_residual) {
    best.in.push_back(node.inputs[3]);
    if (!q.linear) best.overwrites = 1u << 1;  // a vector kernel adds it to sums that it has written
  }
  if (best.out == kNoValue) best.out = node.output;
  return best;
}

}  // namespace

// Sparse 1x1 layers. That dense ones gain was not measured; a k-block ends where the addend's columns begin, so their
// number must have divisors.
bool can_add(const Graph& graph, const Node& node, const Node& addend) {
  const auto is_plain = [&](const Node& n) {
    if (n.op != Op::Conv || n.i("groups") != 1) return false;
    const Value& w = graph.values[n.inputs[1]];
    const auto& padding = n.ints("padding");
    return w.sparse && 2 * static_cast<std::int64_t>(w.sparse->values().size()) <= w.size() &&
           std::all_of(w.shape.begin() + 2, w.shape.end(), [](std::int64_t k) { return k == 1; }) &&
           std::all_of(padding.begin(), padding.end(), [](std::int64_t p) { return p == 0; });
  };
  constexpr std::int64_t kUnit = 32;
  return is_plain(node) && is_plain(addend) && node.has_input(3) && node.inputs[3] == addend.output &&
         !addend.has_input(3) && addend.str("act") == "none" && graph.values[node.inputs[1]].shape[1] % kUnit == 0;
}

Step lower_conv(const LowerContext& context, const Node& node) {
  const Shape& x = context.graph.values[node.inputs[0]].shape;
  const std::int64_t groups = node.i("groups");
  if (groups > 1 && groups == x[1]) return lower_depthwise(context, node);
  return choose_and_build(context, node, conv_problem(context.graph, node), 1);
}

Step lower_linear(const LowerContext& context, const Node& node) {
  const Shape& x = context.graph.values[node.inputs[0]].shape;
  const Shape& w = context.graph.values[node.inputs[1]].shape;
  MatrixProblem q{};
  q.groups = 1;
  q.M = static_cast<std::int32_t>(w[0]);
  q.K = q.C = static_cast<std::int32_t>(w[1]);
  q.H = q.W = q.OH = q.OW = q.KH = q.KW = q.SH = q.SW = q.DH = q.DW = q.pitch = 1;
  q.linear = true;
  std::int64_t inner = 1;
  for (std::size_t i = 1; i + 1 < x.size(); ++i) inner *= x[i];
  return choose_and_build(context, node, q, inner);
}

}  // namespace sn
