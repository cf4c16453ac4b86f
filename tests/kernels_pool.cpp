// Pooling and means against plain loops.
#include <algorithm>

#include "check.h"
#include "step_runner.h"

using namespace check;
using sn::Attrs;
using sn::Op;
using Ints = std::vector<std::int64_t>;

namespace {

struct Window {
  Shape x;  // C, (H,) W
  Ints kernel, stride, padding, dilation;
  bool ceil_mode = false, include_pad = true;
  std::int64_t divisor = 0;
};

std::string name_of(const Window& w, const char* op) {
  return std::string(op) + " x " + sn::to_string(w.x) + " kernel " + sn::to_string(w.kernel) + " stride " +
         sn::to_string(w.stride) + " padding " + sn::to_string(w.padding);
}

void window_case(const Window& w, bool max) {
  Case c;
  c.what = name_of(w, max ? "max" : "avg");
  Attrs attrs{{"kernel", w.kernel}, {"stride", w.stride}, {"padding", w.padding}};
  attrs["ceil_mode"] = static_cast<std::int64_t>(w.ceil_mode);
  if (max) {
    attrs["dilation"] = w.dilation;
  } else {
    attrs["count_include_pad"] = static_cast<std::int64_t>(w.include_pad);
    attrs["divisor_override"] = w.divisor;
  }
  c.node(max ? Op::MaxPool : Op::AvgPool, {c.input(w.x)}, attrs);
  const Shape y = c.graph.values.back().shape;
  run_case(c, 2, [&](std::int64_t batch, const std::vector<Floats>& in) {
    const bool two = w.x.size() == 3;
    const auto at = [&](const Ints& v, int axis, std::int64_t absent) { return axis ? v.back() : two ? v[0] : absent; };
    const std::int64_t planes = batch * w.x[0], h = two ? w.x[1] : 1, width = w.x.back();
    const std::int64_t oh = two ? y[2] : 1, ow = y.back();
    const std::int64_t top = two ? w.padding[0] : 0, left = w.padding[two ? 1 : 0];
    const std::int64_t bottom = two ? w.padding[2] : 0, right = w.padding.back();
    std::vector<Expected> out;
    for (std::int64_t p = 0; p < planes; ++p)
      for (std::int64_t oy = 0; oy < oh; ++oy)
        for (std::int64_t ox = 0; ox < ow; ++ox) {
          Expected e;
          double sum = 0, best = -INFINITY, inside = 0, with_pad = 0;
          for (std::int64_t ky = 0; ky < at(w.kernel, 0, 1); ++ky)
            for (std::int64_t kx = 0; kx < at(w.kernel, 1, 1); ++kx) {
              const std::int64_t yy = oy * at(w.stride, 0, 1) - top + ky * (max ? at(w.dilation, 0, 1) : 1);
              const std::int64_t xx = ox * at(w.stride, 1, 1) - left + kx * (max ? at(w.dilation, 1, 1) : 1);
              if (yy < h + bottom && xx < width + right) ++with_pad;
              if (yy < 0 || xx < 0 || yy >= h || xx >= width) continue;
              const double v = in[0][static_cast<std::size_t>((p * h + yy) * width + xx)];
              sum += v, best = std::max(best, v), e.magnitude += std::fabs(v), ++inside;
            }
          const double count = w.divisor ? static_cast<double>(w.divisor) : w.include_pad ? with_pad : inside;
          e.value = max ? best : sum / count;
          e.magnitude = max ? 0 : e.magnitude / count;
          e.terms = std::max(inside, 1.0);
          out.push_back(e);
        }
    return out;
  });
}

void windows() {
  const std::vector<Window> cases = {
      {{3, 11, 13}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}},
      {{2, 112, 112}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}},
      {{2, 14, 14}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}},
      {{5, 7, 7}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}},
      {{2, 35, 37}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true},
      {{2, 13, 14}, {3, 2}, {2, 3}, {1, 0, 0, 1}, {1, 1}, true, false},
      {{2, 13, 33}, {3, 5}, {3, 4}, {1, 2, 1, 2}, {1, 1}, true, true},
      {{2, 17, 19}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {2, 3}, false, false},
      {{2, 10, 12}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, false, true, 7},
      {{4, 29}, {4}, {3}, {2, 1}, {2}},
      {{4, 70}, {2}, {2}, {0, 0}, {1}},
      {{1, 1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
      {{3, 9, 8}, {9, 8}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
      {{1, 5, 67}, {2, 2}, {1, 5}, {0, 1, 1, 0}, {1, 1}},
  };
  for (const Window& w : cases) {
    window_case(w, true);
    Window a = w;
    a.dilation.assign(w.dilation.size(), 1);
    if (std::any_of(w.dilation.begin(), w.dilation.end(), [](auto d) { return d != 1; })) continue;
    window_case(a, false);
  }
}

void adaptive() {
  for (const auto& [x, output] : std::vector<std::pair<Shape, Ints>>{{{3, 7, 7}, {1, 1}},
                                                                     {{3, 14, 14}, {7, 7}},
                                                                     {{2, 7, 7}, {7, 7}},
                                                                     {{2, 13, 11}, {6, 4}},
                                                                     {{2, 5, 4}, {7, 9}},
                                                                     {{2, 3, 100}, {2, 1}},
                                                                     {{5, 1000}, {1}},
                                                                     {{2, 31}, {4}}}) {
    for (const bool max : {false, true}) {
      Case c;
      c.what = std::string("adaptive ") + (max ? "max " : "avg ") + sn::to_string(x) + " to " + sn::to_string(output);
      c.node(max ? Op::AdaptiveMaxPool : Op::AdaptiveAvgPool, {c.input(x)}, {{"output", output}});
      run_case(c, 2, [&, x = x, output = output](std::int64_t batch, const std::vector<Floats>& in) {
        const bool two = x.size() == 3;
        const std::int64_t h = two ? x[1] : 1, w = x.back(), oh = two ? output[0] : 1, ow = output.back();
        std::vector<Expected> out;
        for (std::int64_t p = 0; p < batch * x[0]; ++p)
          for (std::int64_t oy = 0; oy < oh; ++oy)
            for (std::int64_t ox = 0; ox < ow; ++ox) {
              double sum = 0, best = -INFINITY, magnitude = 0, n = 0;
              for (std::int64_t y = oy * h / oh; y * oh < (oy + 1) * h; ++y)
                for (std::int64_t xx = ox * w / ow; xx * ow < (ox + 1) * w; ++xx) {
                  const double v = in[0][static_cast<std::size_t>((p * h + y) * w + xx)];
                  sum += v, best = std::max(best, v), magnitude += std::fabs(v), ++n;
                }
              out.push_back({max ? best : sum / n, max ? 0 : magnitude / n, n});
            }
        return out;
      });
    }
  }
}

void mean() {
  for (const auto& [x, axes] : std::vector<std::pair<Shape, Ints>>{{{6, 7, 5}, {2, 3}},
                                                                   {{6, 7, 5}, {1}},
                                                                   {{6, 7, 37}, {2}},
                                                                   {{6, 7, 5}, {1, 3}},
                                                                   {{3, 4, 5, 6}, {2, 4}},
                                                                   {{3, 4, 5, 18}, {1, 3}},
                                                                   {{3, 1, 5}, {2}},
                                                                   {{100000}, {1}},
                                                                   {{2, 50, 40, 3}, {1, 2, 3, 4}}}) {
    for (const std::int64_t keep : {0, 1}) {
      Case c;
      c.what = "mean " + sn::to_string(x) + " over " + sn::to_string(axes);
      c.node(Op::Mean, {c.input(x)}, {{"axes", axes}, {"keepdim", keep}});
      run_case(c, 2, [&, x = x, axes = axes](std::int64_t batch, const std::vector<Floats>& in) {
        std::int64_t size = 1, kept = 1;
        std::vector<bool> reduced(x.size());
        for (const auto a : axes) reduced[static_cast<std::size_t>(a - 1)] = true;
        for (std::size_t a = 0; a < x.size(); ++a) size *= x[a], kept *= reduced[a] ? 1 : x[a];
        std::vector<Expected> out(static_cast<std::size_t>(batch * kept));
        for (std::int64_t i = 0; i < batch * size; ++i) {
          std::int64_t left = i % size, target = 0, step = 1;
          for (std::size_t a = x.size(); a-- > 0; left /= x[a]) {
            if (!reduced[a]) target += left % x[a] * step, step *= x[a];
          }
          Expected& e = out[static_cast<std::size_t>(i / size * kept + target)];
          const double n = static_cast<double>(size / kept), v = in[0][static_cast<std::size_t>(i)];
          e.value += v / n, e.magnitude += std::fabs(v) / n, e.terms = n;
        }
        return out;
      });
    }
  }
}

}  // namespace

int main() {
  RUN(windows);
  RUN(adaptive);
  RUN(mean);
  return finish();
}
