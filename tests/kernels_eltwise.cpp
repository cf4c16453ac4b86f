// Activations (accuracy and special values), arithmetic with broadcasting, PReLU, BatchNorm and softmax.
#include <algorithm>

#include "check.h"
#include "step_runner.h"

using namespace check;
using sn::Attrs;
using sn::Op;
using Ints = std::vector<std::int64_t>;

namespace {

double act(const std::string& name, double x, double a, double b) {
  const auto clip = [](double v, double low, double high) { return std::min(std::max(v, low), high); };
  if (name == "relu") return std::max(x, 0.0);
  if (name == "clip") return clip(x, a, b);
  if (name == "leaky_relu") return x < 0 ? a * x : x;
  if (name == "silu") return x / (1 + std::exp(-x));
  if (name == "hard_swish") return x * clip(x + 3, 0, 6) / 6;
  if (name == "hard_sigmoid") return clip(x + 3, 0, 6) / 6;
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "tanh") return std::tanh(x);
  if (name == "gelu") return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  if (name == "gelu_tanh") return x / (1 + std::exp(-2 * std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
  if (name == "exp") return std::exp(x);
  if (name == "sqrt") return std::sqrt(x);
  if (name == "abs") return std::fabs(x);
  if (name == "neg") return -x;
  return x;
}

const char* const kActs[] = {"none", "relu", "clip",      "leaky_relu", "silu", "hard_swish", "hard_sigmoid", "sigmoid",
                             "tanh", "gelu", "gelu_tanh", "exp",        "sqrt", "abs",        "neg"};

Attrs act_attrs(const std::string& name) {
  return {{"act", name}, {"act_a", name == "leaky_relu" ? 0.1 : -0.5}, {"act_b", 1.25}};
}

double ulp(double x) {
  return std::ldexp(1.0, std::max(std::ilogb(x), -126) - 23);
}

// Applies an activation to these values on `isa`.
Floats apply(const std::string& name, const Floats& x, sn::Isa isa) {
  Case c;
  c.node(Op::Activation, {c.input({static_cast<std::int64_t>(x.size())})}, act_attrs(name));
  const sn::LowerContext context{c.graph, isa, 1, 1, {}, nullptr};
  const sn::Step step = sn::lower(context, c.graph.nodes[0]);
  Floats y(x.size());
  sn::KernelArgs args{};
  args.in[0] = x.data(), args.out = y.data(), args.batch = 1;
  step.fn(step.params.get(), args, 0, step.tasks(step.params.get(), 1));
  return y;
}

// The figures in simd/math.h: in ulp of the result, or for those that cancel, of x.
void accuracy() {
  Floats x;
  for (double v = -100; v < 100; v += std::fabs(v) < 6 ? 0.0003 : 0.003) x.push_back(static_cast<float>(v));
  for (float v = 1e-30f; v < 1; v *= 1.07f) x.push_back(v), x.push_back(-v);
  struct Limit {
    const char* name;
    double ulps;
    bool of_x;
  };
  for (const Limit& l : {Limit{"exp", 1, false}, Limit{"tanh", 1.2, false}, Limit{"sigmoid", 2.5, false},
                         Limit{"silu", 2, true}, Limit{"gelu", 2, true}, Limit{"gelu_tanh", 2, true}}) {
    for (const sn::Isa isa : isas()) {
      const Floats y = apply(l.name, x, isa);
      double worst = 0;
      float at = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double e = act(l.name, x[i], 0, 0);
        if (e > std::numeric_limits<float>::max()) {
          CHECK(std::isinf(y[i]));
          continue;
        }
        if (!l.of_x && e < 1.8e-38 && e > 0) {
          CHECK(y[i] >= 0 && y[i] < 1.8e-38f);
          continue;
        }
        const double error = std::fabs(y[i] - e) / ulp(l.of_x ? x[i] : e);
        if (!(error <= worst)) worst = error, at = x[i];
      }
      char text[120];
      std::snprintf(text, sizeof text, "%s %s: %.2f ulp at %g", l.name, sn::isa_name(isa), worst, at);
      record(worst <= l.ulps, __FILE__, __LINE__, text);
    }
  }
}

void special_values() {
  const float inf = INFINITY;
  for (const sn::Isa isa : isas()) {
    for (const char* name : kActs) {
      const Floats y = apply(name, Floats(19, NAN), isa);
      record(std::all_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }), __FILE__, __LINE__,
             std::string(name) + " must keep NaN on " + sn::isa_name(isa));
    }
    CHECK(apply("exp", {inf, -inf, 0, 1000, -1000}, isa) == Floats({inf, 0, 1, inf, 0}));
    CHECK(apply("tanh", {inf, -inf, 0}, isa) == Floats({1, -1, 0}));
    CHECK(apply("sigmoid", {inf, -inf, 0}, isa) == Floats({1, 0, 0.5f}));
    CHECK(apply("relu", {inf, -inf, -1}, isa) == Floats({inf, 0, 0}));
    CHECK(apply("gelu", {inf, 50, -50}, isa) == Floats({inf, 50, 0}));
  }
}

void activations() {
  for (const char* name : kActs) {
    for (const std::int64_t n : {1, 37, 20000}) {
      if (std::string(name) == "sqrt") continue;  // NaN for half of the inputs; in special_values and as an epilogue
      Case c;
      c.what = std::string("act ") + name;
      const Attrs attrs = act_attrs(name);
      c.node(Op::Activation, {c.input({n})}, attrs);
      run_case(c, 4, [&](std::int64_t, const std::vector<Floats>& in) {
        std::vector<Expected> out;
        for (const float v : in[0]) {
          const double y = act(name, v, static_cast<float>(std::get<double>(attrs.at("act_a"))), 1.25);
          out.push_back({y, std::fabs(v) + std::fabs(y), 1});
        }
        return out;
      });
    }
  }
}

// Element `i` (an index over the shape `out`, batch included) of an operand of shape `s`, right-aligned.
std::size_t broadcast_index(std::int64_t i, const Shape& out, const Shape& s) {
  std::int64_t at = 0, stride = 1;
  for (std::size_t a = 0; a < out.size(); ++a) {
    const std::int64_t d = out[out.size() - 1 - a], index = i % d;
    i /= d;
    if (a >= s.size()) continue;
    const std::int64_t size = s[s.size() - 1 - a];
    if (size != 1) at += index * stride;
    stride *= size;
  }
  return static_cast<std::size_t>(at);
}

void binary_case(Op op, const Shape& a, bool a_constant, const Shape& b, bool b_constant, const std::string& name) {
  Case c;
  c.what = std::string(sn::op_name(op)) + " " + name + " " + sn::to_string(a) + (a_constant ? "const " : " ") +
           sn::to_string(b) + (b_constant ? "const" : "");
  Floats values;
  const auto operand = [&](const Shape& s, bool constant) {
    if (!constant) return c.input(s);
    std::int64_t n = 1;
    for (const auto d : s) n *= d;
    values = random_floats(n);
    return c.constant(s, values);
  };
  const sn::ValueId va = operand(a, a_constant), vb = operand(b, b_constant);
  c.node(op, {va, vb}, act_attrs(name));
  const Shape y = c.graph.values.back().shape;
  run_case(c, 4, [&](std::int64_t batch, const std::vector<Floats>& in) {
    Shape out = y;
    out[0] = batch;
    const auto full = [&](Shape s, bool constant) {
      if (!constant) s.insert(s.begin(), batch);
      return s;
    };
    const Floats &xa = a_constant ? values : in[0], &xb = b_constant ? values : in[a_constant ? 0 : 1];
    std::vector<Expected> result;
    for (std::int64_t i = 0; i < batch * per_sample(y); ++i) {
      const double u = xa[broadcast_index(i, out, full(a, a_constant))],
                   v = xb[broadcast_index(i, out, full(b, b_constant))];
      const double r = op == Op::Add ? u + v : op == Op::Sub ? u - v : op == Op::Mul ? u * v : u / v;
      const double m = op == Op::Add || op == Op::Sub ? std::fabs(u) + std::fabs(v) : std::fabs(r);
      result.push_back({act(name, r, static_cast<float>(name == "leaky_relu" ? 0.1 : -0.5), 1.25), m * 4, 1});
    }
    return result;
  });
}

void binary() {
  struct Shapes {
    Shape a;
    bool a_constant;
    Shape b;
    bool b_constant;
  };
  const std::vector<Shapes> cases = {
      {{5, 7, 9}, false, {5, 7, 9}, false},        // residual
      {{40, 33, 31}, false, {40, 33, 31}, false},  // more than one task a sample
      {{5, 7, 9}, false, {5, 1, 1}, false},        // squeeze-excite
      {{5, 1, 1}, false, {5, 7, 9}, false},
      {{5, 7, 9}, false, {1, 7, 9}, false},  // spatial attention
      {{5, 7, 9}, false, {5, 7, 1}, false},
      {{5, 7, 1}, false, {5, 1, 9}, false},  // both stretch
      {{5, 7, 9}, false, {}, true},          // scalar
      {{5, 7, 9}, false, {1}, true},
      {{5, 7, 9}, false, {1, 5, 1, 1}, true},  // per channel
      {{5, 7, 9}, false, {5, 1, 1}, true},
      {{5, 7, 9}, false, {9}, true},
      {{5, 7, 9}, false, {5, 7, 9}, true},
      {{5, 7, 9}, true, {5, 7, 9}, false},
      {{}, true, {5, 7, 9}, false},
      {{11}, false, {11}, true},  // linear
      {{3, 2, 3, 2, 3}, false, {3, 1, 3, 1, 3}, false},
      {{3, 1, 3, 1, 3}, false, {1, 2, 1, 2, 1}, true},
      {{1}, false, {1}, false},
      {{2, 17000}, false, {2, 1}, false},
      {{2, 17000}, false, {17000}, true},
  };
  for (const Shapes& s : cases) {
    for (const Op op : {Op::Add, Op::Sub, Op::Mul, Op::Div}) {
      const bool first = &s == &cases[0];
      binary_case(op, s.a, s.a_constant, s.b, s.b_constant, first ? "relu" : "none");
    }
  }
  for (const char* name : kActs) {
    if (std::string(name) != "sqrt" && std::string(name) != "exp") {
      binary_case(Op::Add, {5, 7, 9}, false, {5, 7, 9}, false, name);
    }
  }
}

void per_channel() {
  for (const Shape& x : {Shape{5, 7, 9}, Shape{11}, Shape{6, 300}, Shape{1, 3, 3}}) {
    const std::int64_t channels = x[0];
    for (const std::int64_t slopes : {std::int64_t{1}, channels}) {
      Case c;
      c.what = "prelu " + sn::to_string(x);
      const Floats slope = random_floats(slopes);
      const sn::ValueId in = c.input(x);
      c.node(Op::PRelu, {in, c.constant({slopes}, slope)});
      const std::int64_t n = per_sample(c.graph.values[0].shape) / channels;
      run_case(c, 1, [&](std::int64_t, const std::vector<Floats>& v) {
        std::vector<Expected> out;
        for (std::size_t i = 0; i < v[0].size(); ++i) {
          const std::size_t channel = i / static_cast<std::size_t>(n) % static_cast<std::size_t>(channels);
          const double u = v[0][i], y = u < 0 ? u * slope[slopes == 1 ? 0 : channel] : u;
          out.push_back({y, std::fabs(y), 1});
        }
        return out;
      });
    }
    Case c;
    c.what = "batchnorm " + sn::to_string(x);
    Floats p[4];
    std::vector<sn::ValueId> in{c.input(x)};
    for (Floats& v : p) v = random_floats(channels);
    for (float& v : p[3]) v = std::fabs(v);
    for (const Floats& v : p) in.push_back(c.constant({channels}, v));
    c.node(Op::BatchNorm, in, {{"eps", 1e-3}});
    const std::int64_t n = per_sample(c.graph.values[0].shape) / channels;
    run_case(c, 2, [&](std::int64_t, const std::vector<Floats>& v) {
      std::vector<Expected> out;
      for (std::size_t i = 0; i < v[0].size(); ++i) {
        const std::size_t k = i / static_cast<std::size_t>(n) % static_cast<std::size_t>(channels);
        const double s = p[0][k] / std::sqrt(p[3][k] + 1e-3);
        out.push_back({(v[0][i] - p[2][k]) * s + p[1][k],
                       std::fabs(v[0][i] * s) + std::fabs(p[2][k] * s) + std::fabs(p[1][k]), 1});
      }
      return out;
    });
  }
}

void softmax() {
  for (const auto& [x, axis] : std::vector<std::pair<Shape, std::int64_t>>{{{10}, 1},
                                                                           {{1000}, 1},
                                                                           {{1}, 1},
                                                                           {{5, 7, 9}, 1},
                                                                           {{5, 7, 9}, 2},
                                                                           {{5, 7, 9}, 3},
                                                                           {{21, 40}, 1},
                                                                           {{70, 3}, 2}}) {
    for (const std::int64_t log : {0, 1}) {
      Case c;
      c.what = (log ? "log softmax " : "softmax ") + sn::to_string(x) + " axis " + std::to_string(axis);
      c.node(Op::Softmax, {c.input(x)}, {{"axis", axis}, {"log", log}});
      run_case(c, 4, [&, x = x, axis = axis](std::int64_t batch, const std::vector<Floats>& in) {
        const auto k = x[static_cast<std::size_t>(axis - 1)];
        std::int64_t inner = 1, outer = batch;
        for (std::size_t a = static_cast<std::size_t>(axis); a < x.size(); ++a) inner *= x[a];
        for (std::size_t a = 0; a + 1 < static_cast<std::size_t>(axis); ++a) outer *= x[a];
        std::vector<Expected> out(in[0].size());
        for (std::int64_t o = 0; o < outer; ++o)
          for (std::int64_t i = 0; i < inner; ++i) {
            const auto at = [&](std::int64_t j) { return static_cast<std::size_t>((o * k + j) * inner + i); };
            double max = -INFINITY, sum = 0;
            for (std::int64_t j = 0; j < k; ++j) max = std::max<double>(max, in[0][at(j)]);
            for (std::int64_t j = 0; j < k; ++j) sum += std::exp(in[0][at(j)] - max);
            for (std::int64_t j = 0; j < k; ++j) {
              const double z = in[0][at(j)] - max, y = log ? z - std::log(sum) : std::exp(z) / sum;
              // exp turns the rounding of z, eps * |z|, into a relative error
              out[at(j)] = {y, log ? std::fabs(z) + std::log(sum) + 1 : y * (2 + std::fabs(z)), 1};
            }
          }
        return out;
      });
    }
  }
}

}  // namespace

int main() {
  RUN(accuracy);
  RUN(special_values);
  RUN(activations);
  RUN(binary);
  RUN(per_channel);
  RUN(softmax);
  return finish();
}
