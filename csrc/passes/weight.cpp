#include "passes/weight.h"

#include <cmath>

#include "passes/rewrite.h"

namespace sn {

Weight::Weight(const Graph& graph, const Node& node) {
  const Value& w = input_value(graph, node, 1);
  transposed = node.op == Op::ConvTranspose;
  const std::int64_t g = node.op == Op::Linear ? 1 : node.i("groups");
  transposed ? regroup(w.shape[1] * g, w.shape[0], g) : regroup(w.shape[0], w.shape[1] * g, g);
  taps = 1;
  for (std::size_t i = 2; i < w.shape.size(); ++i) taps *= w.shape[i];
  sparse_ = w.sparse;
  owner_ = w.data;
  data_ = owner_.get();
}

std::vector<float> Weight::copy() const {
  std::vector<float> out(static_cast<std::size_t>(count()));
  if (sparse_) {
    sparse_->expand(out.data());
  } else {
    std::copy(data_, data_ + count(), out.begin());
  }
  return out;
}

void Weight::regroup(std::int64_t m, std::int64_t c, std::int64_t g) {
  M = m;
  C = c;
  groups = g;
  outs = M / groups;
  ins = C / groups;
}

namespace {

// out = s * in, n numbers; the largest magnitude so far. Adding zero makes -0 a zero of a .snet file's kind.
float multiply(const float* in, std::int64_t n, double s, float* out, float largest) {
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<float>(s * in[i] + 0.0);
    largest = std::max(largest, std::abs(out[i]));
  }
  return largest;
}

}  // namespace

bool Weight::scaled(const std::vector<double>& scale, bool by_output, Value* out) const {
  const std::int64_t row_size = (transposed ? outs : ins) * taps;  // of axis 0
  float largest = 0;
  if (sparse_) {
    std::int64_t a = 0, end = row_size;  // the row of axis 0 that element i is in: i ascends
    out->sparse = sparse_->map([&](std::int64_t i, float v) {
      for (; i >= end; end += row_size) ++a;
      const bool by_row = by_output != transposed;
      const std::int64_t b = by_row ? 0 : (i - (end - row_size)) / taps;
      const double s = scale[by_row ? a : transposed ? a / ins * outs + b : a / outs * ins + b];
      const auto product = static_cast<float>(s * v + 0.0);
      largest = std::max(largest, std::abs(product));
      return product;
    });
    return std::isfinite(largest);
  }
  std::shared_ptr<float> numbers(new float[static_cast<std::size_t>(count())], std::default_delete<float[]>());
  if (by_output && !transposed) {
    for (std::int64_t m = 0; m < M; ++m)
      largest = multiply(data_ + m * row_size, row_size, scale[m], numbers.get() + m * row_size, largest);
  } else {
    for (std::int64_t m = 0; m < M; ++m) {
      const Row row = this->row(m);
      for (std::int64_t j = 0; j < ins; ++j) {
        const std::int64_t at = row.begin + j * row.step;
        largest = multiply(data_ + at, taps, scale[by_output ? m : row.first + j], numbers.get() + at, largest);
      }
    }
  }
  out->data = std::move(numbers);
  return std::isfinite(largest);
}

bool has_weight(Op op) {
  return op == Op::Conv || op == Op::ConvTranspose || op == Op::Linear;
}

std::size_t output_axis(const Graph& graph, const Node& node) {
  return node.op == Op::Linear ? output_shape(graph, node).size() - 1 : 1;
}

bool reads_border(const Node& node) {
  if (node.op == Op::Linear) return false;
  if (node.op == Op::ConvTranspose) return true;
  const auto& padding = node.ints("padding");
  return std::any_of(padding.begin(), padding.end(), [](std::int64_t p) { return p != 0; });
}

std::vector<double> bias_of(const Graph& graph, const Node& node) {
  if (!node.has_input(2)) return std::vector<double>(static_cast<std::size_t>(Weight(graph, node).M), 0);
  const Value& bias = input_value(graph, node, 2);
  const std::shared_ptr<const float> data = bias.dense();
  return std::vector<double>(data.get(), data.get() + bias.size());
}

void set_bias(Graph& graph, int node, bool shared, const std::vector<double>& bias) {
  std::vector<ValueId>& inputs = graph.nodes[node].inputs;
  const Shape shape{static_cast<std::int64_t>(bias.size())};
  const bool zero = std::all_of(bias.begin(), bias.end(), [](double v) { return static_cast<float>(v) == 0; });
  if (!zero && graph.nodes[node].has_input(2)) {
    set_constant(graph, node, 2, shared, make_constant(shape, std::vector<float>(bias.begin(), bias.end())));
  } else {
    inputs.resize(std::max<std::size_t>(inputs.size(), 3), kNoValue);
    inputs[2] = zero ? kNoValue : add_floats(graph, graph.nodes[node].name + ".bias", shape, bias);
  }
  while (inputs.back() == kNoValue) inputs.pop_back();  // the bias, or a residual that is gone
}

}  // namespace sn
