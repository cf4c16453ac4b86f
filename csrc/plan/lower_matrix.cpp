// Conv (but depthwise) and Linear -> panel kernels: build the problem, rank candidates, pack, time, keep the best.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/panel/pack.h"
#include "plan/choose.h"
#include "plan/lower.h"
#include "plan/matrix_step.h"
#include "plan/tune.h"
#include "plan/winograd.h"

namespace sn {
namespace {

// Candidates worth timing: the model is good to about 20 %, and neighbours in width differ by less.
constexpr std::size_t kTimedSparse = 6, kTimedDense = 4, kTimedLinear = 3;
// A dense layer whose model cost is this many times the best is not timed, nor a sparse one.
constexpr double kHopeless = 2.5;
// Nor is anything that much behind the best of Winograd: its model is good to a quarter, and large layers run long.
constexpr double kBeaten = 1.6;
// A tile's padded input in scratch: 1 GiB. Real layers need kilobytes; a hostile dilation could ask for all memory.
constexpr std::int64_t kLargestStrip = std::int64_t{1} << 28;

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

// What may become a layer's step, best first by the cost models.
struct Rivals {
  std::vector<Candidate> panels;
  std::vector<WinogradCandidate> winograd;
};

Rivals find_rivals(const MatrixLayer& layer, const BlockCounts& blocks) {
  const LowerContext& context = layer.context;
  const MatrixProblem& q = layer.problem;
  Rivals out;
  out.panels = rank_candidates(q, blocks, context.isa, layer.rows(), context.kernel, context.layout);
  if (q.linear) {
    std::vector<VectorVariant> vectors = vector_candidates(context.isa);
    // The scalar ISA has no instruction for half floats: 4 to 5 times as long as floats.
    const bool fits = fit_half(layer.w, std::int64_t{q.M} * q.K), half = fits && context.isa != Isa::scalar;
    const auto unwanted = [&](const VectorVariant& v) { return v.f16 && !(context.kernel == v.name ? fits : half); };
    vectors.erase(std::remove_if(vectors.begin(), vectors.end(), unwanted), vectors.end());
    out.panels = rank_linear(std::move(out.panels), q, blocks, vectors, layer.rows(), context.kernel);
    return out;
  }
  if (out.panels.front().variant.name != context.kernel) out.winograd = winograd_candidates(context, layer.node);
  if (!out.winograd.empty() && context.kernel == out.winograd.front().name) out.panels.clear();
  return out;
}

// The one chosen for an earlier layer of the same problem, if it is a candidate here, too.
Step build_chosen(const MatrixLayer& layer, const Rivals& rivals, const Tuner::Choice& choice) {
  for (const WinogradCandidate& c : rivals.winograd) {
    if (choice.kernel == c.name) return lower_winograd(layer.context, layer.node, c.kernel);
  }
  for (const Candidate& c : rivals.panels) {
    const bool same_tiles = choice.kc == c.kc && choice.pitch == c.pitch && choice.layout == c.layout;
    const bool same_vector = choice.vector == c.vector.fn && choice.by_vector == c.by_vector(layer.rows());
    if (choice.kernel == c.variant.name && same_tiles && same_vector) return layer.build(c);
  }
  return {};
}

// Times those that are worth it, while there is time.
void compete(const MatrixLayer& layer, const Rivals& rivals, Contest& contest) {
  const double panels = rivals.panels.empty() ? 1e300 : rivals.panels.front().cycles,
               winograd = rivals.winograd.empty() ? 1e300 : rivals.winograd.front().cycles;
  for (const WinogradCandidate& c : rivals.winograd) {
    if (c.cycles > kBeaten * std::min(panels, winograd) || !contest.time_left()) break;
    contest.enter(lower_winograd(layer.context, layer.node, c.kernel), {c.name, {}}, false);
  }
  std::size_t sparse = 0, dense = 0;
  for (const Candidate& c : rivals.panels) {
    std::size_t& count = c.variant.sparse ? sparse : dense;
    if (count >= (c.variant.sparse ? kTimedSparse : kTimedDense)) continue;
    if (c.cycles > kHopeless * panels || c.cycles > kBeaten * winograd || !contest.time_left()) break;
    ++count;
    contest.enter(layer.build(c), {c.variant.name, {}, c.kc, c.pitch, c.layout, c.vector.fn, c.by_vector(layer.rows())},
                  c.variant.sparse);
    if (layer.problem.linear && count >= kTimedLinear) break;
  }
}

// The cost models' choice.
Step build_likely(const MatrixLayer& layer, const Rivals& rivals) {
  const bool by_winograd = !rivals.winograd.empty() &&
                           (rivals.panels.empty() || rivals.winograd.front().cycles < rivals.panels.front().cycles);
  return by_winograd ? lower_winograd(layer.context, layer.node, rivals.winograd.front().kernel)
                     : layer.build(rivals.panels.front());
}

Step choose_and_build(const LowerContext& context, const Node& node, MatrixProblem q, std::int64_t inner) {
  const float* w = context.graph.values[node.inputs[1]].data.get();
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
  const MatrixLayer layer{context, node, w, q, inner};
  const BlockCounts blocks = count_block_shapes(w, q, context.isa);
  const std::int64_t nnz = blocks.of(1, 1);
  const Rivals rivals = find_rivals(layer, blocks);

  Step best;
  std::string why = "cost model";
  if (context.tuner) {
    const std::string key = problem_key(q, nnz, blocks, layer.rows());
    const auto known = context.tuner->remembered.find(key);
    if (known != context.tuner->remembered.end()) {
      best = build_chosen(layer, rivals, known->second);
      why = known->second.why;
    }
    if (!best.fn && rivals.panels.size() + rivals.winograd.size() > 1) {
      const auto floats = [&](ValueId v) { return static_cast<std::size_t>(context.graph.values[v].size()); };
      const std::size_t out = floats(node.output), batch = static_cast<std::size_t>(context.batch);
      const std::size_t in =
          std::max({floats(node.inputs[0]), out, static_cast<std::size_t>(more.C) * more.H * more.W});
      Contest contest(*context.tuner, context.batch, batch * in, batch * out);
      compete(layer, rivals, contest);
      if (contest.best.fn) {
        best = std::move(contest.best);
        why = contest.choice.why;
        context.tuner->remembered.emplace(key, std::move(contest.choice));
      }
    }
  }
  if (!best.fn) best = build_likely(layer, rivals);
  for (const WinogradCandidate& c : rivals.winograd) {
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
