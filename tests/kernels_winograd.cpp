// The Winograd kernels on every ISA of this machine, through the whole engine, against an fp64 loop. A transformed
// tile rounds relative to its largest sums, so the bound of an output takes sum|w x| at its largest within the tile.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <random>

#include "base/cpu.h"
#include "check.h"
#include "kernels/table.h"
#include "kernels/winograd/winograd.h"
#include "plan/engine.h"

using namespace sn;

namespace {

struct Case {
  int N, C, H, W, M, top, left, bottom, right;
  bool bias, residual;
  const char* act;
  int threads, compiled_batch;
};

const Case kCases[] = {
    {1, 1, 4, 4, 1, 1, 1, 1, 1, false, false, "none", 1, 1},
    {1, 3, 9, 11, 5, 1, 1, 1, 1, true, false, "relu", 1, 1},
    {2, 16, 7, 7, 33, 1, 1, 1, 1, true, true, "relu", 2, 2},
    {3, 9, 14, 13, 70, 0, 0, 0, 0, false, true, "none", 1, 1},  // a batch larger than compiled for
    {3, 17, 5, 30, 16, 2, 1, 0, 2, true, false, "clip", 2, 3},  // blocks that run on from image to image
    {1, 8, 6, 5, 12, 0, 2, 1, 0, true, true, "silu", 1, 1},
    {1, 130, 10, 10, 48, 1, 1, 1, 1, true, false, "none", 2, 1},  // several k-blocks
    {1, 4, 3, 3, 8, 0, 0, 0, 0, true, false, "none", 1, 1},       // a single pixel
    {1, 5, 1, 70, 7, 1, 1, 1, 1, true, false, "none", 1, 1},
    {1, 2, 70, 1, 20, 1, 1, 1, 1, false, true, "none", 2, 1},
    {1, 3, 37, 560, 4, 1, 1, 1, 1, true, false, "relu", 2, 1},  // rows of tiles in parts, lanes full
};

// Largest errors seen, of any ISA: 0.6 for F(2x2), 1.9 for F(4x4), 0.8 for F(4x4, 4x4), all where sums have a few
// terms.
double constant(WinogradKernel kernel) {
  return kernel == WinogradKernel::f2x2 ? 1 : 3;
}

// A case's window and padding for kernels at stride 2, whose windows are 5x5 to 8x8.
struct Window {
  int size, stride, more;  // padding on every side
};
Window window_of(WinogradKernel kernel, std::size_t i) {
  if (winograd_shape(kernel).stride == 1) return {3, 1, 0};
  constexpr int sizes[] = {7, 7, 5, 8, 7, 6, 7};
  return {sizes[i % std::size(sizes)], 2, 2};
}

std::vector<float> random_floats(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(n);
  for (float& x : out) x = normal(engine);
  return out;
}

double act(const std::string& name, double x) {
  if (name == "relu") return std::max(x, 0.0);
  if (name == "clip") return std::min(std::max(x, -0.5), 6.0);
  if (name == "silu") return x / (1 + std::exp(-x));
  return x;
}

struct Layer {
  Graph graph;
  int OH, OW;
  std::vector<float> x, w, b, r;
};

struct Pool {
  std::int64_t size, padding, ceil;
};

Layer make(const Case& c, const Window& k = {3, 1, 0}, const Pool* pool = nullptr) {
  Layer l;
  l.OH = (c.H + c.top + c.bottom + 2 * k.more - k.size) / k.stride + 1;
  l.OW = (c.W + c.left + c.right + 2 * k.more - k.size) / k.stride + 1;
  l.x = random_floats(static_cast<std::size_t>(c.N) * c.C * c.H * c.W, 1);
  l.w = random_floats(static_cast<std::size_t>(c.M) * c.C * k.size * k.size, 2);
  l.b = random_floats(static_cast<std::size_t>(c.M), 3);
  l.r = random_floats(static_cast<std::size_t>(c.N) * c.M * l.OH * l.OW, 4);
  std::vector<ValueId> in{l.graph.add_input("x", {kBatch, c.C, c.H, c.W}),
                          l.graph.add_constant("w", {c.M, c.C, k.size, k.size}, l.w)};
  if (c.bias || c.residual) in.push_back(c.bias ? l.graph.add_constant("b", {c.M}, l.b) : kNoValue);
  if (c.residual) in.push_back(l.graph.add_input("r", {kBatch, c.M, l.OH, l.OW}));
  using Ints = std::vector<std::int64_t>;
  ValueId out =
      l.graph.add_node(Op::Conv, in,
                       {{"stride", Ints{k.stride, k.stride}},
                        {"padding", Ints{c.top + k.more, c.left + k.more, c.bottom + k.more, c.right + k.more}},
                        {"dilation", Ints{1, 1}},
                        {"groups", std::int64_t{1}},
                        {"act", std::string(c.act)},
                        {"act_a", -0.5},
                        {"act_b", 6.0}},
                       "y");
  if (pool) {
    out = l.graph.add_node(Op::MaxPool, {out},
                           {{"kernel", Ints(2, pool->size)},
                            {"stride", Ints{2, 2}},
                            {"padding", Ints(4, pool->padding)},
                            {"dilation", Ints{1, 1}},
                            {"ceil_mode", pool->ceil}},
                           "pooled");
  }
  l.graph.set_output(out);
  return l;
}

CompileOptions options(const std::string& isa, const std::string& kernel, const Case& c) {
  CompileOptions o;
  o.isa = isa, o.kernel = kernel, o.tune = false, o.threads = c.threads, o.batch = c.compiled_batch, o.passes = false;
  return o;
}

// The largest error in units of sqrt(K) eps times the tile's magnitude.
double worst_error(const Case& c, const Window& window, const std::string& isa, const std::string& kernel, int out) {
  const Layer l = make(c, window);
  const int side = window.size, taps = side * side;
  const auto engine = Engine::compile(l.graph, options(isa, kernel, c));
  CHECK(engine->steps()[0].kernel == kernel);
  std::vector<float> y(l.r.size(), NAN);
  const float* inputs[] = {l.x.data(), l.r.data()};
  float* output = y.data();
  engine->run(c.N, inputs, &output);

  const std::size_t pixels = static_cast<std::size_t>(l.OH) * l.OW;
  double worst = 0;
  std::vector<double> expected(pixels), magnitude(pixels);
  for (int nm = 0; nm < c.N * c.M; ++nm) {
    const int n = nm / c.M, m = nm % c.M;
    for (int oy = 0; oy < l.OH; ++oy) {
      for (int ox = 0; ox < l.OW; ++ox) {
        const std::size_t at = static_cast<std::size_t>(oy) * l.OW + ox;
        double sum = 0, size = 0;
        const auto accumulate = [&](double term) { sum += term, size += std::fabs(term); };
        for (int k = 0; k < c.C * taps; ++k) {
          const int iy = oy * window.stride - c.top - window.more + k % taps / side;
          const int ix = ox * window.stride - c.left - window.more + k % side;
          if (iy < 0 || iy >= c.H || ix < 0 || ix >= c.W) continue;
          accumulate(static_cast<double>(l.w[static_cast<std::size_t>(m) * c.C * taps + k]) *
                     l.x[((static_cast<std::size_t>(n) * c.C + k / taps) * c.H + iy) * c.W + ix]);
        }
        if (c.bias) accumulate(l.b[m]);
        if (c.residual) accumulate(l.r[nm * pixels + at]);
        expected[at] = act(c.act, sum), magnitude[at] = size;
      }
    }
    for (int oy = 0; oy < l.OH; ++oy) {
      for (int ox = 0; ox < l.OW; ++ox) {
        double size = 0;
        for (int ty = oy / out * out; ty < std::min(oy / out * out + out, l.OH); ++ty) {
          for (int tx = ox / out * out; tx < std::min(ox / out * out + out, l.OW); ++tx) {
            size = std::max(size, magnitude[static_cast<std::size_t>(ty) * l.OW + tx]);
          }
        }
        const std::size_t at = static_cast<std::size_t>(oy) * l.OW + ox;
        const double error = std::fabs(y[nm * pixels + at] - expected[at]) /
                             (std::sqrt(c.C * static_cast<double>(taps) + 2) * 1.1920929e-7 * size);
        if (!(error <= worst)) worst = error;
      }
    }
  }
  return worst;
}

void every_isa() {
  for (const WinogradKernel variant : {WinogradKernel::f2x2, WinogradKernel::f4x4, WinogradKernel::f4x4s2}) {
    for (int i = 0; i < kIsaCount; ++i) {
      const Isa isa = static_cast<Isa>(i);
      if (!(available_isas() & isa_bit(isa))) continue;
      const std::string kernel = winograd_kernel(variant, isa)->name;
      double worst = 0;
      for (std::size_t n = 0; n < std::size(kCases); ++n) {
        const Case& c = kCases[n];
        const double error = worst_error(c, window_of(variant, n), isa_name(isa), kernel, winograd_shape(variant).out);
        const std::string shape = std::to_string(c.C) + " x " + std::to_string(c.H) + " x " + std::to_string(c.W);
        check::record(error <= constant(variant), __FILE__, __LINE__,
                      kernel + " on " + shape + ": error " + std::to_string(error));
        worst = std::max(worst, error);
      }
      std::printf("%s: largest error %.2f\n", kernel.c_str(), worst);
    }
  }
}

// Max pooling in the kernel gives what it would of the kernel's own output, to the last bit.
void pools_alike(const Case& c, const Window& window, const Pool& pool, const CompileOptions& o, int out) {
  const Layer whole = make(c, window), pooled = make(c, window, &pool);
  const auto conv = Engine::compile(whole.graph, o), both = Engine::compile(pooled.graph, o);
  // Windows that reach into the next tile want blocks of whole rows.
  const bool local = pool.size == 2 && pool.padding == 0, wide = whole.OW > 128 * out;
  const bool joined = !c.residual && std::string(c.act) != "silu" && (local || !wide);
  CHECK(both->steps().size() == (joined ? 1 : 2));
  const std::int64_t OH = both->outputs()[0].shape[2], OW = both->outputs()[0].shape[3];
  std::vector<float> y(whole.r.size()), expected(static_cast<std::size_t>(c.N * c.M * OH * OW)), got(expected);
  const float* inputs[] = {whole.x.data(), whole.r.data()};
  float* output = y.data();
  conv->run(c.N, inputs, &output);
  output = got.data();
  both->run(c.N, inputs, &output);
  float* next = expected.data();
  for (const float* plane = y.data(); plane < y.data() + y.size(); plane += whole.OH * whole.OW) {
    for (std::int64_t i = 0; i < OH * OW; ++i) {
      float most = -INFINITY;
      for (std::int64_t k = 0; k < pool.size * pool.size; ++k) {
        const std::int64_t iy = i / OW * 2 - pool.padding + k / pool.size,
                           ix = i % OW * 2 - pool.padding + k % pool.size;
        if (iy >= 0 && iy < whole.OH && ix >= 0 && ix < whole.OW) most = std::max(most, plane[iy * whole.OW + ix]);
      }
      *next++ = most;
    }
  }
  const std::string shape = std::to_string(c.C) + " x " + std::to_string(c.H) + " x " + std::to_string(c.W);
  check::record(
      got == expected, __FILE__, __LINE__,
      o.kernel + " on " + shape + ", pooled " + std::to_string(pool.size) + "/" + std::to_string(pool.padding));
}

void max_pooling() {
  constexpr Pool pools[] = {{2, 0, 0}, {3, 1, 0}, {3, 0, 1}, {2, 1, 0}, {2, 0, 1}};
  for (const WinogradKernel variant : {WinogradKernel::f2x2, WinogradKernel::f4x4, WinogradKernel::f4x4s2}) {
    for (int i = 0; i < kIsaCount; ++i) {
      const Isa isa = static_cast<Isa>(i);
      if (!(available_isas() & isa_bit(isa))) continue;
      for (std::size_t n = 0; n < std::size(kCases); ++n) {
        const Case& c = kCases[n];
        const Window window = window_of(variant, n);
        const CompileOptions o = options(isa_name(isa), winograd_kernel(variant, isa)->name, c);
        const Layer l = make(c, window);
        for (const Pool& pool : pools) {
          if (std::min(l.OH, l.OW) + 2 * pool.padding < pool.size) continue;
          pools_alike(c, window, pool, o, winograd_shape(variant).out);
        }
      }
    }
  }
}

// Only windows of its size and stride have a kernel, and none where it is forbidden.
void refusals() {
  const Case c = kCases[1];
  CompileOptions o = options("scalar", "winograd_f4x4_scalar", c);
  CHECK_THROWS(ErrorCode::InvalidArgument, "no layer", Engine::compile(make(c, {3, 2, 0}).graph, o));
  CHECK_THROWS(ErrorCode::InvalidArgument, "no layer", Engine::compile(make(c, {7, 2, 2}).graph, o));
  for (const Window& window : {Window{3, 2, 0}, Window{4, 2, 0}, Window{7, 1, 2}, Window{9, 2, 2}}) {
    const CompileOptions strided = options("scalar", "winograd_f4x4s2_scalar", c);
    CHECK_THROWS(ErrorCode::InvalidArgument, "no layer", Engine::compile(make(c, window).graph, strided));
  }
  o.winograd = false;
  CHECK_THROWS(ErrorCode::InvalidArgument, "no layer", Engine::compile(make(c).graph, o));
  Case large{};
  large.N = 1, large.C = 32, large.M = 32, large.H = large.W = 40, large.threads = large.compiled_batch = 1;
  large.act = "none";
  for (const bool allowed : {true, false}) {
    o = options("scalar", "", large);
    o.winograd = allowed;
    const std::string kernel = Engine::compile(make(large).graph, o)->steps()[0].kernel;
    CHECK((kernel.find("winograd") == 0) == allowed);
  }
}

}  // namespace

int main() {
  RUN(every_isa);
  RUN(max_pooling);
  RUN(refusals);
  return check::finish();
}
