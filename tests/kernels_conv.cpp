// Depthwise and transposed convolution against plain loops.
#include <algorithm>

#include "check.h"
#include "step_runner.h"

using namespace check;
using sn::Attrs;
using sn::Op;
using Ints = std::vector<std::int64_t>;

namespace {

struct Conv {
  Shape x;  // C, (H,) W
  std::int64_t out_channels, groups;
  Ints kernel, stride, padding, dilation, output_padding;
  double zeros = 0;
  bool bias = true, residual = false;
  std::string act = "none";
};

double act(const std::string& name, double x) {
  if (name == "relu") return std::max(x, 0.0);
  if (name == "clip") return std::min(std::max(x, -0.5), 1.25);
  if (name == "silu") return x / (1 + std::exp(-x));
  return x;
}

std::string name_of(const Conv& v, const char* op) {
  return std::string(op) + " " + sn::to_string(v.x) + " to " + std::to_string(v.out_channels) + " kernel " +
         sn::to_string(v.kernel) + " stride " + sn::to_string(v.stride) + " padding " + sn::to_string(v.padding) + " " +
         v.act;
}

// The reference scatters for a transposed convolution and gathers for a plain one, over the same index equation:
// big = small * stride - padding + k * dilation, `small` being the output of a convolution, `big` its input.
void conv_case(const Conv& v, bool transposed) {
  Case c;
  c.what = name_of(v, transposed ? "transposed" : "depthwise");
  const std::int64_t taps = v.kernel.size() == 2 ? v.kernel[0] * v.kernel[1] : v.kernel[0];
  Shape w_shape = transposed ? Shape{v.x[0], v.out_channels / v.groups} : Shape{v.out_channels, v.x[0] / v.groups};
  for (const std::int64_t k : v.kernel) w_shape.push_back(k);
  const Floats w = random_floats(w_shape[0] * w_shape[1] * taps, v.zeros), bias = random_floats(v.out_channels);
  const sn::ValueId x = c.input(v.x);
  std::vector<sn::ValueId> in{x, c.constant(w_shape, w)};
  if (v.bias || v.residual) in.push_back(v.bias ? c.constant({v.out_channels}, bias) : sn::kNoValue);
  Attrs attrs{{"stride", v.stride}, {"padding", v.padding}, {"dilation", v.dilation}, {"groups", v.groups},
              {"act", v.act},       {"act_a", -0.5},        {"act_b", 1.25}};
  if (transposed) attrs["output_padding"] = v.output_padding;
  if (v.residual) {
    Case probe = c;
    probe.node(Op::Conv, in, attrs);
    Shape y = probe.graph.values.back().shape;
    y.erase(y.begin());
    in.push_back(c.input(y));
  }
  c.node(transposed ? Op::ConvTranspose : Op::Conv, in, attrs);
  const Shape y = c.graph.values.back().shape;

  run_case(c, 4, [&](std::int64_t batch, const std::vector<Floats>& inputs) {
    const bool two = v.kernel.size() == 2;
    const auto h_of = [&](const Ints& a, std::int64_t absent) { return two ? a[0] : absent; };
    const std::int64_t cin = v.x[0], ih = two ? v.x[1] : 1, iw = v.x.back(), oh = two ? y[2] : 1, ow = y.back();
    const std::int64_t kh = h_of(v.kernel, 1), kw = v.kernel.back(), sh = h_of(v.stride, 1), sw = v.stride.back();
    const std::int64_t dh = h_of(v.dilation, 1), dw = v.dilation.back(), top = two ? v.padding[0] : 0;
    const std::int64_t left = v.padding[two ? 1 : 0], per_in = cin / v.groups, per_out = v.out_channels / v.groups;
    std::vector<Expected> out(static_cast<std::size_t>(batch * v.out_channels * oh * ow));
    for (Expected& e : out) e.terms = 0;
    for (std::int64_t n = 0; n < batch; ++n)
      for (std::int64_t m = 0; m < v.out_channels; ++m)
        for (std::int64_t k = 0; k < per_in; ++k) {
          const std::int64_t ci = m / per_out * per_in + k;
          for (std::int64_t ky = 0; ky < kh; ++ky)
            for (std::int64_t kx = 0; kx < kw; ++kx) {
              const std::int64_t wi = transposed ? (ci * per_out + m % per_out) * taps + ky * kw + kx
                                                 : (m * per_in + k) * taps + ky * kw + kx;
              const double weight = w[static_cast<std::size_t>(wi)];
              const std::int64_t small_h = transposed ? ih : oh, small_w = transposed ? iw : ow;
              for (std::int64_t sy = 0; sy < small_h; ++sy)
                for (std::int64_t sx = 0; sx < small_w; ++sx) {
                  const std::int64_t by = sy * sh - top + ky * dh, bx = sx * sw - left + kx * dw;
                  if (by < 0 || bx < 0 || by >= (transposed ? oh : ih) || bx >= (transposed ? ow : iw)) continue;
                  const std::int64_t iy = transposed ? sy : by, ix = transposed ? sx : bx;
                  const std::int64_t oy = transposed ? by : sy, ox = transposed ? bx : sx;
                  Expected& e = out[static_cast<std::size_t>(((n * v.out_channels + m) * oh + oy) * ow + ox)];
                  const double t = weight * inputs[0][static_cast<std::size_t>(((n * cin + ci) * ih + iy) * iw + ix)];
                  e.value += t, e.magnitude += std::fabs(t), e.terms += weight != 0;
                }
            }
        }
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t m = i / static_cast<std::size_t>(oh * ow) % static_cast<std::size_t>(v.out_channels);
      Expected& e = out[i];
      if (v.bias) e.value += bias[m], e.magnitude += std::fabs(bias[m]), ++e.terms;
      if (v.residual) e.value += inputs[1][i], e.magnitude += std::fabs(inputs[1][i]), ++e.terms;
      e.value = act(v.act, e.value);
      e.terms = std::max(e.terms, 1.0);
    }
    return out;
  });
}

Conv depthwise_conv(Shape x, std::int64_t multiplier, Ints kernel, Ints stride, Ints padding, Ints dilation) {
  Conv v{};
  v.out_channels = x[0] * multiplier, v.groups = x[0];
  v.x = std::move(x);
  v.kernel = std::move(kernel), v.stride = std::move(stride), v.padding = std::move(padding);
  v.dilation = std::move(dilation);
  v.bias = true;
  return v;
}

void depthwise() {
  std::vector<Conv> cases;
  for (const std::int64_t k : {3, 5, 7}) {
    const std::int64_t p = k / 2;
    for (const std::int64_t s : {1, 2, 3}) {
      for (const Shape& x : {Shape{3, 7, 7}, Shape{2, 14, 15}, Shape{2, 28, 33}, Shape{3, 1, 9}}) {
        cases.push_back(depthwise_conv(x, 1, {k, k}, {s, s}, {p, p, p, p}, {1, 1}));
      }
    }
  }
  cases.push_back(depthwise_conv({2, 112, 112}, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}));
  cases.push_back(depthwise_conv({2, 112, 112}, 1, {3, 3}, {2, 2}, {0, 0, 1, 1}, {1, 1}));  // TensorFlow's SAME
  cases.push_back(depthwise_conv({2, 70, 61}, 1, {5, 5}, {2, 2}, {2, 2, 2, 2}, {1, 1}));
  cases.push_back(depthwise_conv({2, 56, 56}, 1, {5, 5}, {2, 2}, {1, 1, 2, 2}, {1, 1}));
  cases.push_back(depthwise_conv({2, 40, 41}, 1, {5, 5}, {1, 1}, {4, 9, 0, 17}, {1, 1}));
  cases.push_back(depthwise_conv({2, 9, 40}, 1, {3, 3}, {2, 2}, {9, 18, 5, 18}, {1, 1}));  // outputs of zeros alone
  cases.push_back(depthwise_conv({3, 20, 21}, 1, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}));
  cases.push_back(depthwise_conv({3, 20, 21}, 1, {3, 5}, {2, 1}, {0, 3, 1, 2}, {3, 2}));
  cases.push_back(depthwise_conv({3, 20, 21}, 3, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}));
  cases.push_back(depthwise_conv({3, 9, 9}, 1, {9, 9}, {1, 1}, {0, 0, 0, 0}, {1, 1}));
  cases.push_back(depthwise_conv({3, 9, 9}, 1, {1, 1}, {2, 2}, {0, 0, 0, 0}, {1, 1}));
  cases.push_back(depthwise_conv({4, 100}, 1, {3}, {1}, {1, 1}, {1}));
  cases.push_back(depthwise_conv({4, 1000}, 2, {9}, {4}, {8, 0}, {3}));
  for (Conv v : cases) {
    conv_case(v, false);
    v.zeros = 0.8;
    v.act = "relu";
    conv_case(v, false);
  }
  Conv v = depthwise_conv({3, 14, 15}, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1});
  for (const char* name : {"none", "relu", "clip", "silu"}) {
    for (const bool residual : {false, true}) {
      for (const bool bias : {false, true}) {
        v.act = name, v.residual = residual, v.bias = bias;
        conv_case(v, false);
      }
    }
  }
  v.zeros = 1;  // nothing but bias
  conv_case(v, false);
}

void transposed() {
  const auto conv = [](Shape x, std::int64_t m, std::int64_t groups, Ints kernel, Ints stride, Ints padding,
                       Ints dilation, Ints output_padding) {
    Conv v{};
    v.x = std::move(x), v.out_channels = m, v.groups = groups, v.kernel = std::move(kernel);
    v.stride = std::move(stride), v.padding = std::move(padding), v.dilation = std::move(dilation);
    v.output_padding = std::move(output_padding), v.bias = true;
    return v;
  };
  const std::vector<Conv> cases = {
      conv({5, 7, 6}, 4, 1, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, {0, 0}),
      conv({5, 7, 6}, 4, 1, {4, 4}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {0, 0}),
      conv({6, 7, 9}, 3, 3, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {1, 1}),
      conv({6, 7, 9}, 6, 6, {4, 4}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {0, 0}),
      conv({3, 8, 8}, 4, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, {0, 0}),
      conv({3, 8, 8}, 4, 1, {3, 5}, {3, 2}, {0, 2, 1, 0}, {2, 3}, {2, 1}),
      conv({3, 4, 5}, 2, 1, {2, 2}, {3, 3}, {0, 0, 0, 0}, {1, 1}, {2, 0}),      // gaps that no tap reaches
      conv({64, 20, 40}, 40, 1, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, {0, 0}),  // blocks of rows, two channel tasks
      conv({70, 30, 31}, 3, 1, {4, 4}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {0, 0}),
      conv({2, 1, 1}, 3, 1, {7, 7}, {1, 1}, {0, 0, 0, 0}, {1, 1}, {0, 0}),
      conv({2, 5, 5}, 3, 1, {3, 3}, {2, 2}, {2, 2, 2, 2}, {1, 1}, {1, 1}),
      conv({4, 50}, 3, 1, {4}, {2}, {1, 1}, {1}, {0}),
      conv({4, 33}, 4, 2, {5}, {3}, {2, 0}, {2}, {1}),
  };
  for (Conv v : cases) {
    conv_case(v, true);
    v.zeros = 0.9, v.act = "silu";
    conv_case(v, true);
    v.bias = false, v.act = "clip";
    conv_case(v, true);
  }
}

}  // namespace

int main() {
  RUN(transposed);
  RUN(depthwise);
  return finish();
}
