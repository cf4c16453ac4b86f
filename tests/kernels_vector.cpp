// Vector kernels of fully connected layers, bit for bit: half floats against floats, batches against single samples.
#include <cmath>
#include <vector>

#include "base/half.h"
#include "check.h"
#include "kernels/panel/pack.h"
#include "plan/engine.h"
#include "plan/matrix_step.h"
#include "step_runner.h"

using namespace sn;
using check::Floats;

namespace {

// All of them, one after another, but infinities and NaNs.
Floats all_half_floats() {
  Floats out;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float x = float_from_half(static_cast<std::uint16_t>(bits));
    if (std::isfinite(x)) out.push_back(x);
  }
  return out;
}

void recognised() {
  for (const float x : all_half_floats()) {
    CHECK(fit_half(&x, 1));
    for (const float y : {std::nextafter(x, 1e9f), std::nextafter(x, -1e9f)}) CHECK(!fit_half(&y, 1));
  }
  for (const float x : {65536.0f, -1e30f, 1e-30f, 3e-8f, INFINITY, NAN}) CHECK(!fit_half(&x, 1));
}

// Each as an output's one weight.
void expanded() {
  const Floats w = all_half_floats();
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, 1});
  const ValueId weight = g.add_constant("w", {static_cast<std::int64_t>(w.size()), 1}, w);
  g.set_output(g.add_node(Op::Linear, {x, weight}, {}, "y"));
  for (const Isa isa : check::isas()) {
    for (const VectorVariant& v : vector_variants(isa)) {
      if (!v.f16) continue;
      CompileOptions options;
      options.isa = isa_name(isa), options.kernel = v.name, options.tune = false, options.passes = false;
      const auto engine = Engine::compile(g, options);
      CHECK(engine->steps().front().kernel == v.name);
      Floats y(w.size());
      const float one = 1;
      const float* input = &one;
      float* output = y.data();
      engine->run(1, &input, &output);
      CHECK(y == w);
    }
  }
}

Floats run(const Step& step, const Floats& x, std::int64_t batch, std::int64_t outputs) {
  AlignedBuffer scratch(step.scratch_bytes);
  Floats y(static_cast<std::size_t>(batch * outputs), NAN);
  KernelArgs args{};
  args.in[0] = x.data(), args.out = y.data(), args.batch = batch, args.scratch = scratch.as<>();
  step.fn(step.params.get(), args, 0, step.tasks(step.params.get(), batch));
  return y;
}

bool twins(const VectorVariant& half, const VectorVariant& full) {
  return half.f16 && !full.f16 && half.sparse == full.sparse && half.br == full.br && half.bc == full.bc &&
         half.sell == full.sell;
}

constexpr int K = 533, M = 59;

template <class Check>
void each_isa(const Floats& w, Check check_isa) {
  check::Case c;
  c.node(Op::Linear, {c.input({K}), c.constant({M, K}, w)});
  MatrixProblem q{};
  q.groups = q.H = q.W = q.OH = q.OW = q.KH = q.KW = q.SH = q.SW = q.DH = q.DW = q.pitch = 1;
  q.K = q.C = K, q.M = M, q.linear = true;
  q.lo = -INFINITY, q.hi = INFINITY;
  for (const Isa isa : check::isas()) {
    const LowerContext context{c.graph, isa, 1, 1, "", nullptr};
    check_isa(isa, MatrixLayer{context, c.graph.nodes.front(), w.data(), q, 1});
  }
}

// Half floats, by the vector kernels and, expanded, by all panel kernels that read their format.
void halves_as_floats() {
  Floats w = check::random_floats(M * K, 0.8);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = float_from_half(half_from_float(i % 7 ? w[i] : 1e-6f * w[i]));
  each_isa(w, [](Isa isa, const MatrixLayer& layer) {
    constexpr std::int64_t kLimit = 7;
    int pairs = 0;
    const auto compare = [&](const PanelVariant& v, const VectorVariant& full, const VectorVariant& half) {
      const Step floats = layer.build({v, 200, 1, Layout::packed, full, kLimit}),
                 halves = layer.build({v, 200, 1, Layout::packed, half, kLimit});
      CHECK(halves.info.packed_bytes < floats.info.packed_bytes);
      CHECK(halves.info.kernel == half.name);
      for (const int batch : {1, 4, 7, 20, 100}) {
        const Floats x = check::random_floats(std::int64_t{batch} * K);
        CHECK(run(floats, x, batch, M) == run(halves, x, batch, M));
      }
      ++pairs;
    };
    for (const VectorVariant& half : vector_variants(isa)) {
      for (const VectorVariant& full : vector_variants(isa)) {
        for (const PanelVariant& v : panel_variants(isa)) {
          const bool reads = v.sparse == half.sparse && v.br == half.br && v.bc == half.bc;
          if (twins(half, full) && reads) compare(v, full, half);
        }
      }
    }
    CHECK(pairs >= 5);
  });
}

// Whatever number of samples share weights as they come.
void batches_as_samples() {
  each_isa(check::random_floats(M * K, 0.8), [](Isa isa, const MatrixLayer& layer) {
    for (const VectorVariant& vector : vector_variants(isa)) {
      for (const PanelVariant& v : panel_variants(isa)) {
        const bool reads = v.sparse == vector.sparse && v.br == vector.br && v.bc == vector.bc;
        if (vector.f16 || !reads || (!v.sparse && v.r != 1)) continue;
        const Step step = layer.build({v, 200, 1, Layout::packed, vector, 20});
        for (const int batch : {2, 3, 5, 8, 9, 15, 20}) {
          const Floats x = check::random_floats(std::int64_t{batch} * K), y = run(step, x, batch, M);
          for (int n = 0; n < batch; ++n) {
            const Floats one(x.begin() + n * K, x.begin() + (n + 1) * K);
            CHECK(run(step, one, 1, M) == Floats(y.begin() + n * M, y.begin() + (n + 1) * M));
          }
        }
        break;
      }
    }
  });
}

}  // namespace

int main() {
  RUN(recognised);
  RUN(expanded);
  RUN(halves_as_floats);
  RUN(batches_as_samples);
  return check::finish();
}
