// Runs one node as the plan would, on every ISA of this machine, and holds it to a plain fp64 loop. Include after
// check.h, in one file a program.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/cpu.h"
#include "graph/graph.h"
#include "plan/lower.h"

namespace check {

using Floats = std::vector<float>;
using sn::Shape;

inline std::vector<sn::Isa> isas() {
  std::vector<sn::Isa> out;
  for (int i = 0; i < sn::kIsaCount; ++i) {
    if (sn::available_isas() & sn::isa_bit(static_cast<sn::Isa>(i))) out.push_back(static_cast<sn::Isa>(i));
  }
  return out;
}

inline std::mt19937& rng() {
  static std::mt19937 r(20240607);
  return r;
}

inline Floats random_floats(std::int64_t n, double zeros = 0) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  Floats v(static_cast<std::size_t>(n));
  for (float& x : v) x = uniform(rng()) < zeros ? 0.0f : normal(rng());
  return v;
}

// A float array that starts off any alignment and ends where its allocation ends, between canaries.
class Guarded {
 public:
  explicit Guarded(const Floats& v) : n_(v.size()), store_(v.size() + 2 * kEdge, kCanary) {
    std::memcpy(data(), v.data(), n_ * sizeof(float));
  }
  float* data() { return store_.data() + kEdge; }
  Floats values() { return Floats(data(), data() + n_); }
  bool intact() const {
    for (std::size_t i = 0; i < kEdge; ++i) {
      if (store_[i] != kCanary || store_[n_ + kEdge + i] != kCanary) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kEdge = 1;  // one float, so that ASan's own red zone is at hand
  static constexpr float kCanary = -7.25e30f;
  std::size_t n_;
  Floats store_;
};

struct Expected {
  double value = 0;
  double magnitude = 0;  // sum |w * x| over the terms of the output
  double terms = 1;
};

// A graph of one node. Inputs are activations [N, ...], constants are added by the caller.
struct Case {
  sn::Graph graph;
  std::vector<Shape> in_shapes;  // with the batch axis
  std::string what;

  sn::ValueId input(Shape shape) {
    shape.insert(shape.begin(), sn::kBatch);
    in_shapes.push_back(shape);
    return graph.add_input("x" + std::to_string(in_shapes.size()), shape);
  }
  sn::ValueId constant(const Shape& shape, const Floats& v) {
    return graph.add_constant("c" + std::to_string(graph.values.size()), shape, v);
  }
  void node(sn::Op op, std::vector<sn::ValueId> in, sn::Attrs attrs = {}) {
    graph.set_output(graph.add_node(op, std::move(in), std::move(attrs), "node"));
  }
};

inline std::int64_t per_sample(const Shape& s) {
  std::int64_t n = 1;
  for (std::size_t i = 1; i < s.size(); ++i) n *= s[i];
  return n;
}

// reference(batch, inputs) gives every output in order. |y - value| <= tolerance * sqrt(terms) * eps * magnitude.
using Reference = std::function<std::vector<Expected>(std::int64_t, const std::vector<Floats>&)>;

inline void run_case(const Case& c, double tolerance, const Reference& reference) {
  sn::Graph graph = c.graph;
  for (sn::Value& v : graph.values) v.data = v.dense();  // as the engine hands constants to a step
  const sn::Node& node = graph.nodes[0];
  const Shape& out_shape = graph.values[static_cast<std::size_t>(node.output)].shape;
  for (const std::int64_t batch : {1, 3}) {
    std::vector<Floats> inputs;
    for (const Shape& s : c.in_shapes) inputs.push_back(random_floats(batch * per_sample(s)));
    const std::vector<Expected> expected = reference(batch, inputs);
    const std::int64_t count = batch * per_sample(out_shape);
    CHECK(static_cast<std::int64_t>(expected.size()) == count);
    for (const sn::Isa isa : isas()) {
      const sn::LowerContext context{graph, isa, 1, batch, {}, nullptr};
      const sn::Step step = sn::lower(context, node);
      std::vector<Guarded> in;
      in.reserve(inputs.size());
      for (const Floats& v : inputs) in.emplace_back(v);
      Guarded out(Floats(static_cast<std::size_t>(count), std::numeric_limits<float>::quiet_NaN()));
      sn::AlignedBuffer scratch(step.scratch_bytes);
      if (scratch.size())
        std::memset(scratch.as<>(), 0xff, scratch.size());  // NaNs: scratch holds what the last step left there
      sn::KernelArgs args{};
      for (std::size_t i = 0; i < in.size(); ++i) args.in[i] = in[i].data();
      args.out = out.data(), args.batch = batch, args.scratch = scratch.as<>();
      const std::int64_t tasks = step.tasks(step.params.get(), batch);
      for (std::int64_t t = tasks; t > 0;) {  // uneven ranges, last first
        const std::int64_t n = std::min<std::int64_t>(t, 1 + t % 3);
        step.fn(step.params.get(), args, t - n, t);
        t -= n;
      }
      const std::string where = c.what + " " + step.info.kernel + " batch " + std::to_string(batch);
      record(out.intact(), __FILE__, __LINE__, where + ": wrote outside the output");
      const Floats y = out.values();
      double worst = 0;
      std::size_t worst_at = 0;
      for (std::size_t i = 0; i < y.size(); ++i) {
        const Expected& e = expected[i];
        if (static_cast<float>(e.value) == y[i]) continue;  // infinities too
        const double bound = std::sqrt(e.terms) * std::numeric_limits<float>::epsilon() * e.magnitude + 1e-37;
        const double error = std::fabs(y[i] - e.value) / bound;
        if (!(error <= worst)) worst = error, worst_at = i;
      }
      char text[200];
      std::snprintf(text, sizeof text, ": off by %.2f of the unit bound at %zu: expected %.9g, got %.9g", worst,
                    worst_at, expected[worst_at].value, static_cast<double>(y[worst_at]));
      record(worst <= tolerance, __FILE__, __LINE__, where + text);
    }
  }
}

}  // namespace check
