// Every row of the matrix kernels' tables that this CPU runs, through the whole engine, against an fp64 loop.
// No Python: this is also what runs under qemu and the sanitizers.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "base/half.h"
#include "check.h"
#include "kernels/panel/table.h"
#include "plan/choose.h"
#include "plan/engine.h"

using namespace sn;

namespace {

struct Case {
  int N, C, H, W, M, KH, KW, stride, top, left, bottom, right, dilation, groups;
  double zeros;  // share of zero weights; 1 = all
  int block;     // zeros come in aligned blocks of this many rows and columns
  bool bias, residual, relu;
  int threads;
};

const Case kConvs[] = {
    {1, 3, 9, 11, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0.5, 1, true, false, true, 1},
    {2, 16, 7, 7, 33, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0.9, 1, true, true, true, 2},
    {3, 8, 14, 13, 12, 3, 3, 2, 1, 1, 1, 1, 1, 1, 0.8, 1, false, false, false, 1},
    {1, 7, 10, 9, 9, 5, 3, 1, 4, 0, 1, 2, 2, 1, 0.7, 1, true, false, false, 2},
    {1, 12, 12, 12, 8, 3, 3, 3, 2, 1, 0, 2, 1, 4, 0.6, 1, true, true, false, 1},
    {1, 64, 5, 5, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0.9, 4, true, false, true, 2},
    {4, 300, 3, 3, 6, 1, 1, 2, 0, 0, 0, 0, 1, 1, 0.8, 2, false, false, true, 1},
    {1, 4, 1, 70, 6, 1, 7, 2, 0, 3, 0, 3, 1, 1, 0.5, 1, true, false, false, 1},
    {1, 5, 6, 6, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1.0, 1, true, false, false, 1},
    {1, 40, 20, 20, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0.0, 1, true, false, true, 1},
    {1, 3, 11, 12, 4, 2, 2, 7, 1, 0, 0, 1, 1, 1, 0.3, 1, true, false, false, 1},
    {1, 2, 9, 9, 4, 1, 1, 100, 0, 0, 0, 0, 1, 1, 0.3, 1, true, false, false, 1},
    {9, 130, 4, 5, 31, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0.95, 1, true, true, true, 2},
};

// Windows on images whose rows of pixels take whole vectors, nearly or just, with and without room for the padding
// behind them.
const Case kWindows[] = {
    {1, 40, 14, 14, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0.8, 1, true, true, true, 2},
    {2, 21, 9, 16, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0.7, 1, true, false, false, 1},
    {1, 12, 23, 28, 8, 5, 3, 1, 2, 1, 2, 1, 1, 2, 0.9, 4, false, false, true, 1},
    {1, 10, 29, 29, 5, 3, 5, 2, 0, 3, 2, 1, 1, 1, 0.6, 1, true, true, false, 2},
    {1, 8, 30, 13, 7, 4, 3, 2, 3, 2, 0, 2, 3, 1, 0.5, 1, true, false, true, 1},
    {1, 24, 8, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0.5, 1, true, false, true, 1},
    {1, 9, 12, 8, 5, 2, 1, 3, 0, 0, 1, 0, 1, 1, 0.4, 1, true, false, false, 1},
};

std::vector<float> random_floats(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> out(n);
  for (float& x : out) x = uniform(engine);
  return out;
}

std::vector<float> sparse_weights(int rows, int columns, const Case& c, unsigned seed) {
  std::vector<float> w = random_floats(static_cast<std::size_t>(rows) * columns, seed);
  std::mt19937 engine(seed + 1);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int m = 0; m < rows; m += c.block) {
    for (int k = 0; k < columns; k += c.block) {
      if (uniform(engine) >= c.zeros) continue;
      for (int i = m; i < std::min(m + c.block, rows); ++i) {
        for (int j = k; j < std::min(k + c.block, columns); ++j) w[static_cast<std::size_t>(i) * columns + j] = 0;
      }
    }
  }
  return w;
}

// To numbers that half floats hold, small ones to their denormals.
std::vector<float> rounded(std::vector<float> w) {
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = float_from_half(half_from_float(i % 7 ? w[i] : 1e-5f * w[i]));
  return w;
}

// |y - ref| <= c sqrt(K) eps sum|w x|, and a rounding of the result itself
bool within(float y, double ref, double magnitude, double terms) {
  constexpr double eps = 1.1920929e-7;
  return std::fabs(y - ref) <= 4 * std::sqrt(terms) * eps * magnitude + 2 * eps * std::fabs(ref);
}

bool conv_matches(const Case& c, const std::string& isa, const std::string& kernel) {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, c.C, c.H, c.W});
  const int depth = c.C / c.groups, K = depth * c.KH * c.KW;
  const std::vector<float> w = sparse_weights(c.M, K, c, 7), b = random_floats(c.M, 9);
  std::vector<ValueId> in{x, g.add_constant("w", {c.M, depth, c.KH, c.KW}, w)};
  in.push_back(c.bias ? g.add_constant("b", {c.M}, b) : kNoValue);
  const int OH = (c.H + c.top + c.bottom - c.dilation * (c.KH - 1) - 1) / c.stride + 1;
  const int OW = (c.W + c.left + c.right - c.dilation * (c.KW - 1) - 1) / c.stride + 1;
  if (c.residual) in.push_back(g.add_input("r", {kBatch, c.M, OH, OW}));
  if (!c.residual && !c.bias) in.pop_back();
  using Ints = std::vector<std::int64_t>;
  g.set_output(g.add_node(Op::Conv, in,
                          {{"stride", Ints{c.stride, c.stride}},
                           {"padding", Ints{c.top, c.left, c.bottom, c.right}},
                           {"dilation", Ints{c.dilation, c.dilation}},
                           {"groups", std::int64_t{c.groups}},
                           {"act", std::string(c.relu ? "relu" : "none")}},
                          "y"));
  CompileOptions options;
  options.isa = isa;
  options.kernel = kernel;
  options.tune = false;
  options.threads = c.threads;
  options.passes = false;
  const auto engine = Engine::compile(g, options);
  const std::vector<float> xs = random_floats(static_cast<std::size_t>(c.N) * c.C * c.H * c.W, 3);
  const std::vector<float> rs = random_floats(static_cast<std::size_t>(c.N) * c.M * OH * OW, 4);
  std::vector<float> y(rs.size(), NAN);
  const float* inputs[] = {xs.data(), rs.data()};
  float* output = y.data();
  engine->run(c.N, inputs, &output);

  std::size_t at = 0;
  for (int n = 0; n < c.N; ++n) {
    for (int m = 0; m < c.M; ++m) {
      const int g0 = m / (c.M / c.groups) * depth;
      for (int oh = 0; oh < OH; ++oh) {
        for (int ow = 0; ow < OW; ++ow, ++at) {
          double sum = 0, magnitude = 0;
          const auto accumulate = [&](double term) { sum += term, magnitude += std::fabs(term); };
          for (int k = 0; k < K; ++k) {
            const int ih = oh * c.stride - c.top + k / c.KW % c.KH * c.dilation;
            const int iw = ow * c.stride - c.left + k % c.KW * c.dilation;
            if (ih < 0 || ih >= c.H || iw < 0 || iw >= c.W) continue;
            const std::size_t channel = static_cast<std::size_t>(n) * c.C + g0 + k / (c.KH * c.KW);
            accumulate(static_cast<double>(w[static_cast<std::size_t>(m) * K + k]) *
                       xs[(channel * c.H + ih) * c.W + iw]);
          }
          if (c.bias) accumulate(b[m]);
          if (c.residual) accumulate(rs[at]);
          if (c.relu) sum = std::max(sum, 0.0);
          if (!within(y[at], sum, magnitude, K + 2)) {
            std::printf("%s: y[%d][%d][%d][%d] = %g, expected %g\n", kernel.c_str(), n, m, oh, ow, y[at], sum);
            return false;
          }
        }
      }
    }
  }
  return true;
}

bool linear_matches(int N, int K, int M, double zeros, int block, int threads, const std::string& act,
                    const std::string& isa, const std::string& kernel) {
  Case c{};
  c.zeros = zeros, c.block = block;
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, K});
  std::vector<float> w = sparse_weights(M, K, c, 5);
  const std::vector<float> b = random_floats(M, 6);
  if (kernel.find("f16") != std::string::npos) w = rounded(w);
  g.set_output(
      g.add_node(Op::Linear, {x, g.add_constant("w", {M, K}, w), g.add_constant("b", {M}, b)}, {{"act", act}}, "y"));
  CompileOptions options;
  options.isa = isa;
  options.kernel = kernel;
  options.tune = false;
  options.threads = threads;
  options.passes = false;
  const auto engine = Engine::compile(g, options);
  const std::vector<float> xs = random_floats(static_cast<std::size_t>(N) * K, 8);
  std::vector<float> y(static_cast<std::size_t>(N) * M, NAN);
  const float* input = xs.data();
  float* output = y.data();
  engine->run(N, &input, &output);
  for (int n = 0; n < N; ++n) {
    for (int m = 0; m < M; ++m) {
      double sum = b[m], magnitude = std::fabs(b[m]);
      for (int k = 0; k < K; ++k) {
        const double term =
            static_cast<double>(w[static_cast<std::size_t>(m) * K + k]) * xs[static_cast<std::size_t>(n) * K + k];
        sum += term, magnitude += std::fabs(term);
      }
      const float got = y[static_cast<std::size_t>(n) * M + m];
      if (act == "sigmoid") {  // slope at most 1/4
        if (std::fabs(got - 1 / (1 + std::exp(-sum))) <= 1e-6 + 4 * std::sqrt(K + 1.0) * 1.2e-7 * magnitude) continue;
      } else if (within(got, sum, magnitude, K + 1)) {
        continue;
      }
      std::printf("%s: y[%d][%d] = %g, expected %g\n", kernel.c_str(), n, m, got, sum);
      return false;
    }
  }
  return true;
}

// A 1x1 layer whose residual another one gives: y = act(w x + b + v z + d), both of OH x OW pixels.
struct Shortcut {
  int N, C, stride, D, stride_z, OH, OW, M;
  double zeros;
  int block;
  bool bias, relu;
  int threads;
};

const Shortcut kShortcuts[] = {
    {1, 64, 1, 64, 1, 9, 13, 32, 0.9, 1, true, true, 1},    {2, 96, 2, 50, 1, 7, 7, 31, 0.8, 1, true, false, 2},
    {1, 32, 1, 130, 2, 14, 14, 40, 0.7, 4, false, true, 1}, {9, 64, 3, 33, 2, 3, 4, 37, 0.95, 1, true, true, 2},
    {3, 160, 1, 70, 1, 8, 8, 16, 1.0, 1, true, false, 1},
};

bool shortcut_matches(const Shortcut& c, const std::string& isa, const std::string& kernel) {
  Case pattern{};
  pattern.zeros = c.zeros, pattern.block = c.block;
  Graph g;
  struct Side {
    int channels, stride;
    std::vector<float> x, w, b;
  } sides[] = {{c.C, c.stride, {}, {}, {}}, {c.D, c.stride_z, {}, {}, {}}};
  using Ints = std::vector<std::int64_t>;
  ValueId out = kNoValue;
  for (const int i : {1, 0}) {  // the one that adds is last
    Side& s = sides[i];
    s.w = sparse_weights(c.M, s.channels, pattern, 5 + i), s.b = random_floats(c.M, 9 + i);
    const int H = (c.OH - 1) * s.stride + 1, W = (c.OW - 1) * s.stride + 1;
    s.x = random_floats(static_cast<std::size_t>(c.N) * s.channels * H * W, 3 + i);
    const std::string end = std::to_string(i);
    std::vector<ValueId> in{g.add_input("x" + end, {kBatch, s.channels, H, W}),
                            g.add_constant("w" + end, {c.M, s.channels, 1, 1}, s.w),
                            c.bias ? g.add_constant("b" + end, {c.M}, s.b) : kNoValue};
    if (i == 0) in.push_back(out);
    out = g.add_node(Op::Conv, in,
                     {{"stride", Ints{s.stride, s.stride}},
                      {"padding", Ints(4, 0)},
                      {"dilation", Ints{1, 1}},
                      {"groups", std::int64_t{1}},
                      {"act", std::string(i == 0 && c.relu ? "relu" : "none")}},
                     "y" + end);
  }
  g.set_output(out);
  for (Value& v : g.values) compress(v);
  CompileOptions options;
  options.isa = isa, options.kernel = kernel, options.tune = false, options.threads = c.threads, options.passes = false;
  const auto engine = Engine::compile(g, options);
  CHECK(engine->steps().size() == 1);
  std::vector<float> y(static_cast<std::size_t>(c.N) * c.M * c.OH * c.OW, NAN);
  const float* inputs[] = {sides[1].x.data(), sides[0].x.data()};  // in the order of their making
  float* output = y.data();
  engine->run(c.N, inputs, &output);
  for (std::size_t at = 0; at < y.size(); ++at) {
    const auto pixel = static_cast<int>(at % static_cast<std::size_t>(c.OH * c.OW));
    const auto nm = static_cast<int>(at / static_cast<std::size_t>(c.OH * c.OW));
    double sum = 0, magnitude = 0;
    const auto accumulate = [&](double term) { sum += term, magnitude += std::fabs(term); };
    for (const Side& s : sides) {
      const int H = (c.OH - 1) * s.stride + 1, W = (c.OW - 1) * s.stride + 1;
      const int from = pixel / c.OW * s.stride * W + pixel % c.OW * s.stride;
      for (int k = 0; k < s.channels; ++k) {
        const std::size_t plane = static_cast<std::size_t>(nm / c.M) * s.channels + k;
        accumulate(static_cast<double>(s.w[static_cast<std::size_t>(nm % c.M) * s.channels + k]) *
                   s.x[plane * H * W + from]);
      }
      if (c.bias) accumulate(s.b[nm % c.M]);
    }
    if (c.relu) sum = std::max(sum, 0.0);
    if (within(y[at], sum, magnitude, c.C + c.D + 2)) continue;
    std::printf("%s: y[%d][%d] = %g, expected %g\n", kernel.c_str(), nm, pixel, y[at], sum);
    return false;
  }
  return true;
}

std::vector<Isa> isas() {
  std::vector<Isa> out;
  for (int i = 0; i < kIsaCount; ++i) {
    if (available_isas() >> i & 1) out.push_back(static_cast<Isa>(i));
  }
  return out;
}

// Whether this kernel has the layout on a case.
bool has_layout(const Case& c, Isa isa, const PanelVariant& v, const std::string& layout) {
  MatrixProblem q{};
  q.groups = c.groups, q.C = c.C / c.groups, q.M = c.M / c.groups;
  q.H = c.H, q.W = c.W, q.KH = c.KH, q.KW = c.KW, q.SH = q.SW = c.stride, q.DH = q.DW = c.dilation;
  q.PT = c.top, q.PL = c.left, q.K = q.C * q.KH * q.KW;
  q.OH = (c.H + c.top + c.bottom - c.dilation * (c.KH - 1) - 1) / c.stride + 1;
  q.OW = q.pitch = (c.W + c.left + c.right - c.dilation * (c.KW - 1) - 1) / c.stride + 1;
  const std::vector<float> w = sparse_weights(c.M, q.K, c, 7);
  const std::vector<Candidate> all = rank_candidates(q, count_block_shapes(w.data(), q, isa), isa, c.N, v.name, layout);
  return layout == layout_name(all.front().layout);
}

// Every layout of every kernel, where the case has it.
void layouts() {
  for (const Isa isa : isas()) {
    for (const Layout layout : {Layout::packed, Layout::sliding, Layout::padded, Layout::shifted}) {
      const std::string name = layout_name(layout);
      int count = 0;
      for (const PanelVariant& v : panel_variants(isa)) {
        const auto check = [&](const Case& c) {
          if (!has_layout(c, isa, v, name)) return;
          CHECK(conv_matches(c, isa_name(isa), v.name + ("/" + name)));
          ++count;
        };
        std::for_each(std::begin(kConvs), std::end(kConvs), check);
        std::for_each(std::begin(kWindows), std::end(kWindows), check);
      }
      CHECK(count > 0);
    }
  }
}

void shortcuts() {
  for (const Isa isa : isas()) {
    for (const PanelVariant& v : panel_variants(isa)) {
      for (const Shortcut& c : kShortcuts) CHECK(shortcut_matches(c, isa_name(isa), v.name));
    }
  }
}

void fully_connected() {
  for (const Isa isa : isas()) {
    std::vector<std::string> names;
    for (const PanelVariant& v : panel_variants(isa)) {
      if (!v.paired) names.emplace_back(v.name);  // those are for convolutions
    }
    for (const VectorVariant& v : vector_variants(isa)) names.emplace_back(v.name);
    for (const std::string& name : names) {
      CHECK(linear_matches(1, 37, 19, 0.7, 1, 1, "none", isa_name(isa), name));
      CHECK(linear_matches(9, 130, 33, 0.9, 1, 2, "none", isa_name(isa), name));
      CHECK(linear_matches(2, 5000, 3, 0.95, 4, 2, "sigmoid", isa_name(isa), name));
      CHECK(linear_matches(40, 64, 5, 1.0, 1, 1, "none", isa_name(isa), name));
      for (const int batch : {3, 5, 8, 21}) {
        CHECK(linear_matches(batch, 700, 30, 0.8, 1, 1, "none", isa_name(isa), name));
      }
    }
    // Packed for a sample at a time, by interleaved rows; run with more.
    for (const int batch : {1, 4, 9, 250}) {
      CHECK(linear_matches(batch, 130, 33, 0.9, 1, 2, "none", isa_name(isa), ""));
    }
  }
}

void forcing() {
  CHECK(available_isas() & isa_bit(Isa::scalar));
  CHECK_THROWS(ErrorCode::InvalidArgument, "no such instruction set", select_isa("sse9"));
  CHECK_THROWS(ErrorCode::InvalidArgument, "no layer", conv_matches(kConvs[0], "scalar", "spmm_1x1_r3_none"));
}

void windows_too_wide() {
  Case c = kConvs[0];
  c.left = c.right = c.dilation = 1 << 29;
  c.top = c.bottom = 0;
  c.KH = 1;
  CHECK_THROWS(ErrorCode::Shape, "padded pixels", conv_matches(c, "scalar", ""));
}

}  // namespace

int main() {
  RUN(layouts);
  RUN(shortcuts);
  RUN(fully_connected);
  RUN(forcing);
  RUN(windows_too_wide);
  return check::finish();
}
