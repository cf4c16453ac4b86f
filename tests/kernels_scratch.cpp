// What an earlier layer left in the scratch must not cost time: an FMA on a subnormal takes some twenty times as long
// as another, so kernels may not compute on lanes that nobody wrote. The CPU says whether they did, by MXCSR's
// denormal-operand flag; other architectures have no such flag, and only check that the results do not change.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/buffer.h"
#include "check.h"
#include "kernels/panel/table.h"
#include "kernels/registry.h"
#include "plan/choose.h"
#include "plan/lower.h"

using namespace sn;

namespace {

struct Case {
  int C, H, W, M, K, stride, padding, batch;
};

// Fewer pixels than a tile, a tile and a few, windows with and without stride, channels in several k-blocks.
const Case kCases[] = {
    {96, 7, 7, 24, 1, 1, 0, 1}, {24, 7, 7, 16, 3, 1, 1, 1},  {16, 15, 15, 8, 3, 2, 1, 2},   {20, 9, 9, 8, 1, 2, 0, 1},
    {6, 5, 40, 8, 5, 1, 2, 1},  {1200, 3, 3, 8, 1, 1, 0, 3}, {150, 14, 14, 12, 3, 1, 1, 1}, {3, 30, 44, 10, 7, 2, 3, 2},
};

std::vector<float> random_floats(std::size_t n, double zeros) {
  static std::mt19937 engine(5);
  std::uniform_real_distribution<float> uniform(0.5f, 1.0f);
  std::bernoulli_distribution zero(zeros);
  std::vector<float> out(n);
  for (float& x : out) x = zero(engine) ? 0.0f : uniform(engine);
  return out;
}

std::vector<float> run(const Step& step, const Case& c, const std::vector<float>& x, std::size_t outputs, float dirt) {
  AlignedBuffer scratch(step.scratch_bytes);
  std::fill_n(scratch.as<float>(), scratch.size() / sizeof(float), dirt);
  std::vector<float> y(outputs);
  KernelArgs args{};
  args.in[0] = x.data();
  args.out = y.data();
  args.batch = c.batch;
  args.scratch = scratch.as<>();
  step.fn(step.params.get(), args, 0, step.tasks(step.params.get(), c.batch));
  return y;
}

// `layout`: of a matrix kernel, where the case has it. `pooled`: with max pooling in the same step.
bool ignores_dirt(const Case& c, Isa isa, const std::string& kernel, double zeros, const std::string& layout = "",
                  bool pooled = false) {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, c.C, c.H, c.W});
  const std::vector<float> w = random_floats(static_cast<std::size_t>(c.M) * c.C * c.K * c.K, zeros);
  using Ints = std::vector<std::int64_t>;
  const Ints padding(4, c.padding);
  g.add_node(Op::Conv, {x, g.add_constant("w", {c.M, c.C, c.K, c.K}, w)},
             {{"stride", Ints{c.stride, c.stride}}, {"padding", padding}, {"dilation", Ints{1, 1}}}, "y");
  if (pooled) {
    g.add_node(Op::MaxPool, {g.nodes[0].output},
               {{"kernel", Ints{3, 3}}, {"stride", Ints{2, 2}}, {"padding", Ints(4, 1)}, {"dilation", Ints{1, 1}}},
               "p");
  }
  for (Value& value : g.values) value.data = value.dense();  // as the engine hands constants to a step
  LowerContext context{g, isa, 1, c.batch, kernel, nullptr};
  context.layout = layout;
  if (pooled) context.pool = &g.nodes[1];
  const Step step = lower_conv(context, g.nodes[0]);
  if (step.info.layout != layout) return true;
  const Value& out = g.values[static_cast<std::size_t>(step.out)];
  const std::size_t outputs = static_cast<std::size_t>(c.batch * out.size());
  const std::vector<float> in = random_floats(static_cast<std::size_t>(c.batch) * c.C * c.H * c.W, 0);
  const std::vector<float> clean = run(step, c, in, outputs, 0.0f);
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() & ~0x3fu);
#endif
  const std::vector<float> dirty = run(step, c, in, outputs, 1e-40f);
#if defined(__x86_64__)
  if (_mm_getcsr() & 0x2u) {
    std::printf("%s computes on unwritten lanes: %d channels of %dx%d, window %d\n", kernel.c_str(), c.C, c.H, c.W,
                c.K);
    return false;
  }
#endif
  return std::memcmp(clean.data(), dirty.data(), outputs * sizeof(float)) == 0;
}

void matrix_kernels() {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!(available_isas() & isa_bit(isa))) continue;
    for (const PanelVariant& v : panel_variants(isa)) {
      for (const Case& c : kCases) {
        for (const Layout layout : {Layout::packed, Layout::sliding, Layout::padded, Layout::shifted}) {
          CHECK(ignores_dirt(c, isa, v.name, v.sparse ? 0.8 : 0.0, layout_name(layout)));
        }
      }
    }
  }
}

void winograd_kernels() {
  for (const KernelRow& row : all_kernels()) {
    if (!(available_isas() & isa_bit(row.isa)) || std::string(row.family) != "winograd") continue;
    for (const Case& c : kCases) {
      const bool strided = std::string(row.name).find("s2") != std::string::npos;
      if (strided ? c.K != 7 : c.K != 3 || c.stride != 1) continue;
      CHECK(ignores_dirt(c, row.isa, row.name, 0.0));
      CHECK(ignores_dirt(c, row.isa, row.name, 0.0, "", true));
    }
  }
}

}  // namespace

int main() {
  RUN(matrix_kernels);
  RUN(winograd_kernels);
  return check::finish();
}
