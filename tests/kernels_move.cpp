// Data movement and resampling against plain loops. Movement must be exact: its bound is 0.
#include <algorithm>

#include "check.h"
#include "step_runner.h"

using namespace check;
using sn::Op;
using Ints = std::vector<std::int64_t>;

namespace {

// For each output index (without batch), the input index; an empty one: `fill`.
using Map = std::function<Ints(const Ints&)>;

Reference moved(const Shape& x, const Shape& y, const Map& map, float fill = 0) {
  return [=](std::int64_t batch, const std::vector<Floats>& in) {
    std::int64_t size = 1, out_size = 1;
    for (const auto d : x) size *= d;
    for (std::size_t a = 1; a < y.size(); ++a) out_size *= y[a];
    std::vector<Expected> out;
    for (std::int64_t i = 0; i < batch * out_size; ++i) {
      Ints index(y.size() - 1);
      std::int64_t left = i;
      for (std::size_t a = index.size(); a-- > 0; left /= y[a + 1]) index[a] = left % y[a + 1];
      const Ints from = map(index);
      std::int64_t at = left;
      for (std::size_t a = 0; a < from.size(); ++a) at = at * x[a] + from[a];
      out.push_back({from.empty() ? fill : in[0][static_cast<std::size_t>(at)], 0, 1});
    }
    return out;
  };
}

void concat() {
  const std::vector<std::pair<std::vector<Shape>, std::int64_t>> cases = {{{{3, 4, 5}, {2, 4, 5}}, 1},
                                                                          {{{3, 4, 5}, {3, 1, 5}, {3, 7, 5}}, 2},
                                                                          {{{3, 4, 5}, {3, 4, 2}}, 3},
                                                                          {{{40, 30, 31}, {1, 30, 31}}, 1},
                                                                          {{{7}, {9}, {1}}, 1},
                                                                          {std::vector<Shape>(25, {3, 9}), 1},
                                                                          {{{5, 2}}, 2}};
  for (const auto& [shapes, axis] : cases) {
    Case c;
    c.what = "concat of " + std::to_string(shapes.size()) + " x " + sn::to_string(shapes[0]);
    std::vector<sn::ValueId> in;
    for (const Shape& s : shapes) in.push_back(c.input(s));
    c.node(Op::Concat, in, {{"axis", axis}});
    run_case(c, 0, [&, shapes = shapes, axis = axis](std::int64_t batch, const std::vector<Floats>& x) {
      std::vector<Expected> out;
      std::int64_t outer = batch, inner = 1;
      for (std::size_t a = 0; a < shapes[0].size(); ++a) {
        if (static_cast<std::int64_t>(a) < axis - 1) outer *= shapes[0][a];
        if (static_cast<std::int64_t>(a) > axis - 1) inner *= shapes[0][a];
      }
      for (std::int64_t o = 0; o < outer; ++o)
        for (std::size_t i = 0; i < x.size(); ++i) {
          const std::int64_t n = shapes[i][static_cast<std::size_t>(axis - 1)] * inner;
          for (std::int64_t k = 0; k < n; ++k) out.push_back({x[i][static_cast<std::size_t>(o * n + k)], 0, 1});
        }
      return out;
    });
  }
}

void slice() {
  struct S {
    Shape x;
    std::int64_t axis, start, end, step;
  };
  for (const S& s :
       {S{{8, 5, 7}, 1, 2, 6, 1}, S{{8, 5, 7}, 1, 0, 8, 3}, S{{8, 5, 7}, 2, 1, 5, 2}, S{{8, 5, 70}, 3, 3, 68, 2},
        S{{8, 5, 7}, 3, 6, 7, 1}, S{{9}, 1, 0, 9, 1}, S{{50, 40, 30}, 1, 1, 49, 1}, S{{2, 40000}, 1, 1, 2, 1}}) {
    Case c;
    c.what = "slice " + sn::to_string(s.x) + " axis " + std::to_string(s.axis);
    c.node(Op::Slice, {c.input(s.x)}, {{"axis", s.axis}, {"start", s.start}, {"end", s.end}, {"step", s.step}});
    run_case(c, 0, moved(s.x, c.graph.values.back().shape, [&](Ints i) {
               auto& at = i[static_cast<std::size_t>(s.axis - 1)];
               at = s.start + at * s.step;
               return i;
             }));
  }
}

void transpose() {
  const std::vector<std::pair<Shape, Ints>> cases = {{{5, 7, 9}, {0, 3, 1, 2}},
                                                     {{33, 40, 50}, {0, 2, 3, 1}},
                                                     {{5, 7, 9}, {0, 1, 3, 2}},
                                                     {{5, 7, 9}, {0, 3, 2, 1}},
                                                     {{5, 7, 9}, {0, 1, 2, 3}},
                                                     {{5, 7, 9}, {0, 2, 1, 3}},
                                                     {{2, 3, 4, 5, 6}, {0, 5, 3, 1, 4, 2}},
                                                     {{1, 1, 6}, {0, 3, 2, 1}},
                                                     {{197, 64}, {0, 2, 1}},
                                                     {{2, 3, 2, 3, 2, 3, 2}, {0, 7, 1, 6, 2, 5, 3, 4}}};
  for (const auto& [x, perm] : cases) {
    Case c;
    c.what = "transpose " + sn::to_string(x) + " by " + sn::to_string(perm);
    c.node(Op::Transpose, {c.input(x)}, {{"perm", perm}});
    run_case(c, 0, moved(x, c.graph.values.back().shape, [perm = perm](const Ints& i) {
               Ints from(i.size());
               for (std::size_t a = 0; a < i.size(); ++a) from[static_cast<std::size_t>(perm[a + 1] - 1)] = i[a];
               return from;
             }));
  }
}

void channel_shuffle() {
  for (const auto& [x, groups] : std::vector<std::pair<Shape, std::int64_t>>{
           {{12, 5, 7}, 2}, {{12, 5, 7}, 3}, {{12, 5, 7}, 1}, {{12, 5, 7}, 12}, {{6}, 2}, {{58, 28, 28}, 2}}) {
    Case c;
    c.what = "shuffle " + sn::to_string(x);
    c.node(Op::ChannelShuffle, {c.input(x)}, {{"groups", groups}});
    run_case(c, 0, moved(x, c.graph.values.back().shape, [per = x[0] / groups, g = groups](Ints i) {
               i[0] = i[0] % g * per + i[0] / g;
               return i;
             }));
  }
}

void pad() {
  const std::vector<std::pair<Shape, Ints>> cases = {{{3, 5, 7}, {0, 1, 2, 0, 2, 1}},
                                                     {{3, 5, 7}, {1, 0, 0, 2, 0, 0}},
                                                     {{3, 5, 7}, {-1, 2, -3, 0, -1, 2}},
                                                     {{3, 5, 7}, {0, -1, -2, 0, 0, -1}},
                                                     {{9}, {3, 5}},
                                                     {{3, 5, 7}, {0, 0, 0, 0, 0, 0}},
                                                     {{4, 30}, {0, 17, 0, 16}},
                                                     {{2, 3, 4, 5}, {1, 0, 2, -1, 0, 1, 3, 2}}};
  for (const auto& [x, pads] : cases) {
    for (const char* mode : {"constant", "reflect", "replicate"}) {
      const std::string m = mode;
      bool fits = true;
      for (std::size_t a = 0; a < pads.size(); ++a) fits = fits && pads[a] < x[a % x.size()];
      if (m == "reflect" && !fits) continue;
      Case c;
      c.what = "pad " + m + " " + sn::to_string(x) + " by " + sn::to_string(pads);
      c.node(Op::Pad, {c.input(x)}, {{"pads", pads}, {"mode", m}, {"value", 1.5}});
      run_case(c, 0,
               moved(
                   x, c.graph.values.back().shape,
                   [=, x = x, pads = pads](Ints i) {
                     for (std::size_t a = 0; a < i.size(); ++a) {
                       const std::int64_t n = x[a];
                       std::int64_t& at = i[a];
                       at -= pads[a];
                       if (at >= 0 && at < n) continue;
                       if (m == "constant") return Ints();
                       if (m == "replicate") at = at < 0 ? 0 : n - 1;
                       if (m == "reflect") at = at < 0 ? -at : 2 * n - 2 - at;
                     }
                     return i;
                   },
                   1.5f));
    }
  }
}

void resize() {
  struct R {
    Shape x;
    Ints output;
    std::vector<double> scale;
  };
  for (const R& r :
       {R{{3, 7, 7}, {14, 14}, {0.5, 0.5}}, R{{3, 7, 9}, {11, 23}, {7 / 11.0, 9 / 23.0}},
        R{{3, 20, 33}, {7, 10}, {20 / 7.0, 3.3}}, R{{3, 5, 5}, {5, 5}, {1, 1}}, R{{2, 5, 6}, {1, 1}, {5, 6}},
        R{{2, 1, 1}, {4, 5}, {0.25, 0.2}}, R{{2, 5, 6}, {8, 9}, {0.6, 0.65}}, R{{4, 13}, {29}, {13 / 29.0}}}) {
    for (const bool linear : {false, true}) {
      for (const std::int64_t corners : {0, 1}) {
        if (!linear && corners) continue;
        Case c;
        c.what = "resize " + sn::to_string(r.x) + " to " + sn::to_string(r.output) + (linear ? " linear" : " nearest") +
                 (corners ? " corners" : "");
        c.node(Op::Resize, {c.input(r.x)},
               {{"output", r.output},
                {"scale", r.scale},
                {"mode", std::string(linear ? "bilinear" : "nearest")},
                {"align_corners", corners}});
        run_case(c, 4, [&](std::int64_t batch, const std::vector<Floats>& in) {
          const bool two = r.x.size() == 3;
          const std::int64_t h = two ? r.x[1] : 1, w = r.x.back(), oh = two ? r.output[0] : 1, ow = r.output.back();
          const auto source = [&](std::int64_t i, std::int64_t n, std::int64_t out, double scale) {
            if (!linear) return std::min(std::floor(static_cast<double>(i) * scale + 1e-9), static_cast<double>(n - 1));
            if (corners) return out > 1 ? static_cast<double>(i * (n - 1)) / static_cast<double>(out - 1) : 0.0;
            return std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0, static_cast<double>(n - 1));
          };
          std::vector<Expected> out;
          for (std::int64_t p = 0; p < batch * r.x[0]; ++p)
            for (std::int64_t y = 0; y < oh; ++y)
              for (std::int64_t x = 0; x < ow; ++x) {
                const double sy = source(y, h, oh, two ? r.scale[0] : 1), sx = source(x, w, ow, r.scale.back());
                const auto y0 = static_cast<std::int64_t>(sy), x0 = static_cast<std::int64_t>(sx);
                Expected e;
                for (const std::int64_t i : {0, 1})
                  for (const std::int64_t j : {0, 1}) {
                    const double ty = sy - static_cast<double>(y0), tx = sx - static_cast<double>(x0);
                    const double weight = (i ? ty : 1 - ty) * (j ? tx : 1 - tx);
                    const double v =
                        in[0]
                          [static_cast<std::size_t>((p * h + std::min(y0 + i, h - 1)) * w + std::min(x0 + j, w - 1))];
                    e.value += weight * v, e.magnitude += linear ? std::fabs(v) : 0;
                  }
                e.terms = 4;
                out.push_back(e);
              }
          return out;
        });
      }
    }
  }
}

}  // namespace

int main() {
  RUN(concat);
  RUN(slice);
  RUN(transpose);
  RUN(channel_shuffle);
  RUN(pad);
  RUN(resize);
  return finish();
}
