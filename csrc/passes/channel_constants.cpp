// Which channels hold one and the same number everywhere, for every input. Activations are taken to be finite, so that
// a zero weight or a zero factor silences what it multiplies.
#include <algorithm>
#include <cmath>
#include <limits>

#include "passes/affine.h"
#include "passes/channels.h"
#include "passes/rewrite.h"
#include "passes/weight.h"

namespace sn {
namespace {

constexpr double kVaries = std::numeric_limits<double>::quiet_NaN();

bool varies(double v) {
  return !std::isfinite(v);
}

double act(const Node& node, double x) {
  if (!has_act(node.op) && node.op != Op::Activation) return x;
  const std::string& name = node.str("act");
  const double a = node.f("act_a"), b = node.f("act_b");
  if (name == "none") return x;
  if (name == "relu") return std::max(x, 0.0);
  if (name == "clip") return std::min(std::max(x, a), b);
  if (name == "leaky_relu") return x >= 0 ? x : a * x;
  if (name == "silu") return x / (1 + std::exp(-x));
  if (name == "hard_swish") return x * std::min(std::max(x + 3, 0.0), 6.0) / 6;
  if (name == "hard_sigmoid") return std::min(std::max(x + 3, 0.0), 6.0) / 6;
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "tanh") return std::tanh(x);
  if (name == "gelu") return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  if (name == "gelu_tanh")
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
  if (name == "exp") return std::exp(x);
  if (name == "sqrt") return std::sqrt(x);
  if (name == "abs") return std::abs(x);
  if (name == "neg") return -x;
  return kVaries;
}

// Every window of a pool holds at least one element of its input.
bool windows_see_data(const Graph& graph, const Node& node) {
  const Shape &x = input_value(graph, node, 0).shape, &y = output_shape(graph, node);
  for (std::size_t i = 0; i + 2 < x.size(); ++i) {
    const std::int64_t dilation = node.op == Op::MaxPool ? node.ints("dilation")[i] : 1;
    for (std::int64_t o = 0; o < y[2 + i]; ++o) {
      bool seen = false;
      for (std::int64_t k = 0; k < node.ints("kernel")[i]; ++k) {
        const std::int64_t at = o * node.ints("stride")[i] - node.ints("padding")[i] + k * dilation;
        seen |= at >= 0 && at < x[2 + i];
      }
      if (!seen) return false;
    }
  }
  return true;
}

// Pooling keeps a constant other than zero.
bool pool_keeps(const Graph& graph, const Node& node) {
  if (node.op == Op::AvgPool) {
    const auto& padding = node.ints("padding");
    const bool padded = std::any_of(padding.begin(), padding.end(), [](std::int64_t p) { return p != 0; });
    if (node.i("divisor_override") || (padded && node.i("count_include_pad"))) return false;
  }
  return windows_see_data(graph, node);
}

double arithmetic(Op op, double a, double b) {
  if (op == Op::Mul && (a == 0 || b == 0)) return 0;  // whatever the other one does
  if (op == Op::Add) return a + b;
  if (op == Op::Sub) return a - b;
  return op == Op::Mul ? a * b : a / b;
}

class Propagation {
 public:
  Propagation(const Graph& graph, const Channels& channels)
      : graph_(graph), channels_(channels), value(static_cast<std::size_t>(channels.total()), kVaries) {
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) visit(static_cast<int>(n));
    for (double& v : value)
      if (varies(v)) v = kVaries;
  }

 private:
  const Graph& graph_;
  const Channels& channels_;

 public:
  std::vector<double> value;

 private:
  double& at(ValueId v, std::int64_t c) { return value[channels_.id(v, static_cast<int>(c))]; }

  // What the output's channels would be if the node were the identity.
  std::vector<double> carried(int n, std::size_t i) {
    const Node& node = graph_.nodes[n];
    std::vector<double> out(static_cast<std::size_t>(channels_.count(node.output)), kVaries);
    std::vector<char> seen(out.size(), 0);
    for (const auto& [from, to] : channels_.pairs(n, i)) {
      const double v = at(node.inputs[i], from);
      out[to] = !seen[to] || out[to] == v ? v : kVaries;
      seen[to] = 1;
    }
    return out;
  }

  std::vector<double> operand(int n, std::size_t i) {
    const Node& node = graph_.nodes[n];
    const Value& v = input_value(graph_, node, i);
    const std::size_t axis = channels_.axis(node.output);
    if (!v.is_constant()) return carried(n, i);
    if (!axis) return {kVaries};
    return channel_values(v, output_shape(graph_, node), axis);
  }

  void visit(int n) {
    const Node& node = graph_.nodes[n];
    std::vector<double> y(static_cast<std::size_t>(channels_.count(node.output)), kVaries);
    switch (node.op) {
      case Op::Conv:
      case Op::ConvTranspose:
      case Op::Linear:
        y = mixed(n);
        break;
      case Op::Add:
      case Op::Sub:
      case Op::Mul:
      case Op::Div: {
        const std::vector<double> a = operand(n, 0), b = operand(n, 1);
        for (std::size_t c = 0; c < y.size(); ++c) y[c] = arithmetic(node.op, a[c], b[c]);
        break;
      }
      case Op::BatchNorm: {
        Affine affine;
        if (!match_affine(graph_, node, 1, &affine)) break;
        y = carried(n, 0);
        for (std::size_t c = 0; c < y.size(); ++c)
          y[c] = affine.scale[c] == 0 ? affine.shift[c] : y[c] * affine.scale[c] + affine.shift[c];
        break;
      }
      case Op::PRelu: {
        const Value& slope = input_value(graph_, node, 1);
        const std::shared_ptr<const float> data = slope.dense();
        y = carried(n, 0);
        for (std::size_t c = 0; c < y.size(); ++c)
          if (y[c] < 0) y[c] *= data.get()[slope.size() == 1 ? 0 : c];
        break;
      }
      case Op::MaxPool:
      case Op::AvgPool: {
        y = carried(n, 0);
        const bool keeps = pool_keeps(graph_, node), keeps_zero = node.op == Op::AvgPool || keeps;
        for (double& v : y)
          if (!(v == 0 ? keeps_zero : keeps)) v = kVaries;
        break;
      }
      case Op::Pad:
        y = padded(n);
        break;
      case Op::Concat:
        for (std::size_t i = 0; i < node.inputs.size(); ++i) merge(n, i, &y);
        break;
      case Op::Softmax:
        break;
      default:
        y = carried(n, 0);
        break;
    }
    for (std::size_t c = 0; c < y.size(); ++c)
      at(node.output, static_cast<std::int64_t>(c)) = varies(y[c]) ? kVaries : act(node, y[c]);
  }

  // Concat: along the channels each comes from one input, along another axis all inputs must agree.
  void merge(int n, std::size_t i, std::vector<double>* y) {
    const Node& node = graph_.nodes[n];
    const bool along = node.i("axis") == static_cast<std::int64_t>(channels_.axis(node.output));
    for (const auto& [from, to] : channels_.pairs(n, i)) {
      const double v = at(node.inputs[i], from);
      (*y)[to] = along || i == 0 || (*y)[to] == v ? v : kVaries;
    }
  }

  std::vector<double> padded(int n) {
    const Node& node = graph_.nodes[n];
    std::vector<double> y = carried(n, 0);
    if (channels_.pairs(n, 0).empty() || node.str("mode") != "constant") return y;
    const auto& pads = node.ints("pads");
    const std::size_t axis = channels_.axis(node.output), axes = pads.size() / 2;
    bool grows = false;
    for (std::size_t i = 0; i < pads.size(); ++i) grows |= i % axes != axis - 1 && pads[i] > 0;
    const double fill = node.f("value");
    const auto before = static_cast<std::size_t>(pads[axis - 1]);
    const auto inner = static_cast<std::size_t>(channels_.count(node.inputs[0]));
    for (std::size_t c = 0; c < y.size(); ++c) {
      if (c < before || c >= before + inner)
        y[c] = fill;
      else if (grows && y[c] != fill)
        y[c] = kVaries;
    }
    return y;
  }

  std::vector<double> mixed(int n) {
    const Node& node = graph_.nodes[n];
    const Weight w(graph_, node);
    const ValueId x = node.inputs[0];
    const bool border = reads_border(node), tracked = channels_.axis(x) == output_axis(graph_, node);
    std::vector<double> y = bias_of(graph_, node);
    const std::vector<double> residual = node.has_input(3) ? carried(n, 3) : std::vector<double>(y.size(), 0);
    for (std::int64_t m = 0; m < w.M; ++m) {
      double& sum = y[static_cast<std::size_t>(m)];
      sum += residual[static_cast<std::size_t>(m)];
      const Weight::Row row = w.row(m);
      for (std::int64_t j = 0; j < w.ins && !varies(sum); ++j) {
        const std::int64_t kernel = row.begin + j * row.step;
        const double v = tracked ? at(x, row.first + j) : kVaries;
        if (v == 0 || w.is_zero(kernel)) continue;
        sum += border ? kVaries : v * w.sum(kernel);
      }
    }
    return y;
  }
};

}  // namespace

std::vector<double> constant_channels(const Graph& graph, const Channels& channels) {
  return Propagation(graph, channels).value;
}

}  // namespace sn
