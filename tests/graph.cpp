// The IR: the ops table, building, shapes, compaction. What verify() refuses stands in verify.cpp.
#include "graph/graph.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "graph/ops.h"
#include "graphs.h"

using namespace graphs;

namespace {

const std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

Shape shape_of(const Graph& g, ValueId v) {
  return g.values[static_cast<std::size_t>(v)].shape;
}

// The shape that `op` gives for one activation.
Shape shape_after(Op op, const Shape& x, const Attrs& attrs) {
  Graph g;
  return shape_of(g, g.add_node(op, {g.add_input("x", x)}, attrs));
}

void table_parses() {
  const OpInfo& conv = op_info(Op::Conv);
  CHECK(std::string(conv.name) == "Conv" && conv.min_in == 2 && conv.max_in == 4);
  CHECK(conv.attrs.size() == 7 && conv.attrs[0].name == "stride" && conv.attrs[0].kind == AttrKind::Ints);
  CHECK(!conv.find("stride")->has_default && conv.find("groups")->has_default);
  CHECK(std::get<std::int64_t>(conv.find("groups")->default_value) == 1);
  CHECK(std::get<std::string>(conv.find("act")->default_value) == "none");
  CHECK(std::get<double>(op_info(Op::BatchNorm).find("eps")->default_value) == 1e-5);
  CHECK(op_info(Op::PRelu).attrs.empty());
  for (int i = 0; i < static_cast<int>(Op::kCount); ++i) {
    const Op op = static_cast<Op>(i);
    CHECK(op_from_name(op_name(op)) == op);
  }
  CHECK_THROWS(ErrorCode::UnsupportedOp, "Convolve", op_from_name("Convolve"));
  CHECK_THROWS(ErrorCode::UnsupportedOp, "number", op_info(Op::kCount));
  CHECK_THROWS(ErrorCode::UnsupportedOp, "number", op_info(static_cast<Op>(-1)));
}

void building() {
  Graph g = small_graph();
  g.verify();
  CHECK(g.nodes[0].i("groups") == 1 && g.nodes[0].str("act") == "none" && g.nodes[0].f("act_a") == 0.0);
  CHECK(to_string(shape_of(g, g.outputs[0])) == "[N, 4, 8, 8]");
  CHECK(g.values[0].size() == 256 && g.find("conv") == g.nodes[0].output && g.find("nobody") == kNoValue);
  CHECK(g.unique_name("w") == "w_1" && g.unique_name("fresh") == "fresh");
  CHECK(g.nodes[static_cast<std::size_t>(g.producers()[static_cast<std::size_t>(g.find("relu"))])].name == "relu");
  CHECK(g.consumers()[0] == std::vector<int>({0, 2}));

  const ValueId unnamed = g.add_node(Op::Identity, {0}), again = g.add_node(Op::Identity, {0});
  CHECK(g.values[static_cast<std::size_t>(unnamed)].name == "identity");
  CHECK(g.values[static_cast<std::size_t>(again)].name == "identity_1");
  g.add_node(Op::Conv, {0, 1, kNoValue, kNoValue}, conv_attrs({1, 1}, {1, 1, 1, 1}, {1, 1}));
  CHECK(g.nodes.back().inputs.size() == 2);
  g.add_node(Op::Pad, {0}, {{"pads", Ints(6, 0)}, {"value", std::int64_t{2}}});  // an int where a float is asked for
  CHECK(g.nodes.back().f("value") == 2.0);

  CHECK_THROWS(ErrorCode::Graph, "already a value named 'x'", g.add_input("x", {kBatch, 1}));
  CHECK_THROWS(ErrorCode::Graph, "needs a name", g.add_input("", {kBatch, 1}));
  CHECK_THROWS(ErrorCode::Graph, "already a value named 'w'", g.add_node(Op::Identity, {0}, {}, "w"));
  CHECK_THROWS(ErrorCode::Shape, "axis 0 must be the batch", g.add_input("y", {3, 1}));
  CHECK_THROWS(ErrorCode::Shape, "holds 4 elements, got 3", g.add_constant("c", {2, 2}, noise(3)));
  CHECK_THROWS(ErrorCode::Shape, "at least 1", g.add_constant("c", {0}, noise(0)));
  CHECK_THROWS(ErrorCode::Graph, "unknown attribute 'pad'; it takes none",
               g.add_node(Op::PRelu, {0, 2}, {{"pad", 1.0}}));
  CHECK_THROWS(ErrorCode::Graph, "it takes stride, padding", g.add_node(Op::Conv, {0, 1}, {{"pad", 1.0}}));
  CHECK_THROWS(ErrorCode::Graph, "'stride' (ints) is missing", g.add_node(Op::Conv, {0, 1}, {}));
  CHECK_THROWS(ErrorCode::Graph, "'axis' must be int, got float", g.add_node(Op::Softmax, {0}, {{"axis", 1.0}}));
  CHECK_THROWS(ErrorCode::Graph, "must be a constant", g.add_node(Op::Linear, {0, 0}));
  CHECK_THROWS(ErrorCode::Graph, "must be an activation", g.add_node(Op::Identity, {1}));
  CHECK_THROWS(ErrorCode::Graph, "all its inputs are constants", g.add_node(Op::Add, {1, 2}));
  CHECK_THROWS(ErrorCode::Graph, "input 0 is absent", g.add_node(Op::Identity, {kNoValue}));
  CHECK_THROWS(ErrorCode::Graph, "expected 1 to 1 inputs", g.add_node(Op::Identity, {0, 0}));
  CHECK_THROWS(ErrorCode::Graph, "input 0 is value 99", g.add_node(Op::Identity, {99}));
  g.nodes.resize(3);  // what failed left nothing behind
  g.values.resize(6);
  g.verify();
}

void windows() {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, 8, 9, 7}), line = g.add_input("line", {kBatch, 8, 100});
  const auto conv = [&](Op op, ValueId in, const Shape& w, const Attrs& attrs) {
    return shape_of(g, g.add_node(op, {in, constant(g, g.unique_name("w"), w)}, attrs));
  };
  CHECK(conv(Op::Conv, x, {6, 4, 3, 2}, conv_attrs({2, 1}, {1, 0, 2, 1}, {1, 2}, 2)) == Shape({kBatch, 6, 5, 6}));
  CHECK(conv(Op::Conv, line, {5, 8, 9}, conv_attrs({4}, {4, 4}, {1})) == Shape({kBatch, 5, 25}));
  CHECK_THROWS(ErrorCode::Shape, "groups=3 must divide",
               conv(Op::Conv, x, {6, 4, 1, 1}, conv_attrs({1, 1}, {0, 0, 0, 0}, {1, 1}, 3)));
  CHECK_THROWS(ErrorCode::Shape, "8 input channels",
               conv(Op::Conv, x, {6, 4, 1, 1}, conv_attrs({1, 1}, {0, 0, 0, 0}, {1, 1})));
  CHECK_THROWS(ErrorCode::Shape, "input's rank 4",
               conv(Op::Conv, x, {6, 8, 1}, conv_attrs({1, 1}, {0, 0, 0, 0}, {1, 1})));
  CHECK_THROWS(ErrorCode::Shape, "stride must hold 2 integers",
               conv(Op::Conv, x, {6, 8, 1, 1}, conv_attrs({1}, {0, 0, 0, 0}, {1, 1})));
  CHECK_THROWS(ErrorCode::Shape, "padding must hold 4",
               conv(Op::Conv, x, {6, 8, 1, 1}, conv_attrs({1, 1}, {0, 0}, {1, 1})));
  CHECK_THROWS(ErrorCode::Shape, "got 0", conv(Op::Conv, x, {6, 8, 1, 1}, conv_attrs({0, 1}, {0, 0, 0, 0}, {1, 1})));
  CHECK_THROWS(ErrorCode::Shape, "got -1", conv(Op::Conv, x, {6, 8, 1, 1}, conv_attrs({1, 1}, {0, 0, -1, 0}, {1, 1})));
  CHECK_THROWS(ErrorCode::Shape, "reaches over 9 samples",
               conv(Op::Conv, x, {6, 8, 1, 3}, conv_attrs({1, 1}, {0, 0, 0, 0}, {1, 4})));
  CHECK_THROWS(ErrorCode::Shape, "dilation must hold",
               conv(Op::Conv, x, {6, 8, 1, 3}, conv_attrs({1, 1}, {0, 0, 0, 0}, {1, kHuge})));

  Attrs up = conv_attrs({2, 3}, {1, 0, 1, 0}, {1, 1}, 2);
  up["output_padding"] = Ints{1, 0};
  CHECK(conv(Op::ConvTranspose, x, {8, 3, 3, 3}, up) == Shape({kBatch, 6, 18, 21}));
  up["output_padding"] = Ints{2, 0};
  CHECK_THROWS(ErrorCode::Shape, "output_padding must be smaller", conv(Op::ConvTranspose, x, {8, 3, 3, 3}, up));
  up["output_padding"] = Ints{0, 0};
  CHECK_THROWS(ErrorCode::Shape, "8 input channels", conv(Op::ConvTranspose, x, {4, 3, 3, 3}, up));
  up["padding"] = Ints{9, 0, 10, 0};
  CHECK_THROWS(ErrorCode::Shape, "leaves an output of 0", conv(Op::ConvTranspose, x, {8, 3, 3, 3}, up));

  const auto pool = [](Ints k, Ints s, Ints p, std::int64_t ceil) {
    return Attrs{{"kernel", k}, {"stride", s}, {"padding", p}, {"ceil_mode", ceil}};
  };
  const Shape image{kBatch, 3, 112, 112};
  CHECK(shape_after(Op::AvgPool, image, pool({3, 3}, {2, 2}, {1, 1, 1, 1}, 0)) == Shape({kBatch, 3, 56, 56}));
  CHECK(shape_after(Op::AvgPool, image, pool({3, 3}, {2, 2}, {1, 1, 1, 1}, 1)) == Shape({kBatch, 3, 57, 57}));
  CHECK(shape_after(Op::AvgPool, {kBatch, 1, 4}, pool({1}, {3}, {0, 0}, 1)) == Shape({kBatch, 1, 2}));
  CHECK(shape_after(Op::AvgPool, {kBatch, 1, 3}, pool({2}, {3}, {1, 1}, 1)) == Shape({kBatch, 1, 2}));
  CHECK(shape_after(Op::AvgPool, {kBatch, 1, 3}, pool({2}, {3}, {0, 0}, 1)) == Shape({kBatch, 1, 1}));
  CHECK_THROWS(ErrorCode::Shape, "at most half",
               shape_after(Op::AvgPool, image, pool({3, 3}, {2, 2}, {1, 2, 1, 1}, 0)));
  CHECK_THROWS(ErrorCode::Shape, "one or two spatial axes", shape_after(Op::AvgPool, {kBatch, 3}, pool({}, {}, {}, 0)));
  CHECK_THROWS(ErrorCode::Shape, "one or two spatial axes",
               shape_after(Op::AvgPool, {kBatch, 3, 4, 4, 4}, pool({1, 1, 1}, {1, 1, 1}, Ints(6, 0), 0)));
  CHECK_THROWS(ErrorCode::Shape, "kernel reaches over",
               shape_after(Op::AvgPool, {kBatch, 3, 4}, pool({5}, {1}, {0, 0}, 0)));
  CHECK(shape_after(Op::AdaptiveMaxPool, image, {{"output", Ints{1, 7}}}) == Shape({kBatch, 3, 1, 7}));
  CHECK_THROWS(ErrorCode::Shape, "output must hold", shape_after(Op::AdaptiveAvgPool, image, {{"output", Ints{0, 7}}}));
}

void layout() {
  const Shape x{kBatch, 6, 4, 5};
  const auto reshape = [&](Ints to) { return shape_after(Op::Reshape, x, {{"shape", to}}); };
  CHECK(reshape({0, -1}) == Shape({kBatch, 120}) && reshape({0, 2, 3, -1, 5}) == Shape({kBatch, 2, 3, 4, 5}));
  for (const Ints& bad :
       {Ints{}, Ints{0}, Ints{1, 120}, Ints{-1, 120}, Ints{0, -1, -1}, Ints{0, 7, -1}, Ints{0, 0, 120}, Ints{0, -2, 60},
        Ints{0, kHuge, kHuge}, Ints{0, 120, 120}, Ints{0, 1, 1, 1, 1, 1, 1, 1, 120}})
    CHECK_THROWS(ErrorCode::Shape, "", reshape(bad));

  const std::int64_t wide = kMaxElements - 1;
  CHECK_THROWS(ErrorCode::Shape, "too many elements",
               shape_after(Op::Reshape, {kBatch, wide}, {{"shape", Ints{0, wide, wide}}}));

  CHECK(shape_after(Op::Transpose, x, {{"perm", Ints{0, 3, 1, 2}}}) == Shape({kBatch, 5, 6, 4}));
  for (const Ints& bad :
       {Ints{}, Ints{0, 1, 2}, Ints{1, 0, 2, 3}, Ints{0, 1, 1, 2}, Ints{0, 1, 2, 4}, Ints{0, 1, 2, -1}})
    CHECK_THROWS(ErrorCode::Shape, "perm", shape_after(Op::Transpose, x, {{"perm", bad}}));

  const auto pad = [&](Ints pads, const char* mode) {
    return shape_after(Op::Pad, x, {{"pads", pads}, {"mode", std::string(mode)}});
  };
  CHECK(pad({0, 1, -2, 0, 2, -2}, "constant") == Shape({kBatch, 6, 7, 1}));
  CHECK(pad({0, 3, 0, 0, 0, 4}, "reflect") == Shape({kBatch, 6, 7, 9}));
  CHECK_THROWS(ErrorCode::Shape, "reflection needs", pad({0, 4, 0, 0, 0, 0}, "reflect"));
  CHECK_THROWS(ErrorCode::Shape, "crop all of axis 3", pad({0, 0, -2, 0, 0, -3}, "constant"));
  CHECK_THROWS(ErrorCode::Shape, "2^40", pad({0, 0, 0, 0, 0, std::int64_t{1} << 40}, "constant"));
  CHECK_THROWS(ErrorCode::Graph, "mode must be one of", pad({0, 0, 0, 0, 0, 0}, "wrap"));

  const auto slice = [&](std::int64_t axis, std::int64_t start, std::int64_t end, std::int64_t step) {
    return shape_after(Op::Slice, x, {{"axis", axis}, {"start", start}, {"end", end}, {"step", step}});
  };
  CHECK(slice(3, 0, 5, 2) == Shape({kBatch, 6, 4, 3}) && slice(1, 5, 6, 100) == Shape({kBatch, 1, 4, 5}));
  for (const Ints& bad : {Ints{0, 0, 1, 1}, Ints{4, 0, 1, 1}, Ints{1, 2, 2, 1}, Ints{1, 3, 2, 1}, Ints{1, 0, 7, 1},
                          Ints{1, -1, 3, 1}, Ints{1, 0, 3, 0}})
    CHECK_THROWS(ErrorCode::Shape, "", slice(bad[0], bad[1], bad[2], bad[3]));

  CHECK(shape_after(Op::Mean, x, {{"axes", Ints{2, 3}}}) == Shape({kBatch, 6}));
  CHECK(shape_after(Op::Mean, x, {{"axes", Ints{3, 1}}, {"keepdim", std::int64_t{1}}}) == Shape({kBatch, 1, 4, 1}));
  for (const Ints& bad : {Ints{}, Ints{0}, Ints{4}, Ints{-1}, Ints{2, 2}})
    CHECK_THROWS(ErrorCode::Shape, "", shape_after(Op::Mean, x, {{"axes", bad}}));

  CHECK(shape_after(Op::ChannelShuffle, x, {{"groups", std::int64_t{3}}}) == x);
  CHECK_THROWS(ErrorCode::Shape, "groups=4", shape_after(Op::ChannelShuffle, x, {{"groups", std::int64_t{4}}}));
  CHECK_THROWS(ErrorCode::Shape, "axis must be", shape_after(Op::Softmax, x, {{"axis", std::int64_t{0}}}));

  const auto resize = [&](Ints to, std::vector<double> scale, const char* mode, std::int64_t align) {
    return shape_after(Op::Resize, x,
                       {{"output", to}, {"scale", scale}, {"mode", std::string(mode)}, {"align_corners", align}});
  };
  CHECK(resize({8, 10}, {0.5, 0.5}, "nearest", 0) == Shape({kBatch, 6, 8, 10}));
  CHECK_THROWS(ErrorCode::Graph, "align_corners", resize({8, 10}, {0.5, 0.5}, "nearest", 1));
  CHECK_THROWS(ErrorCode::Shape, "scale must hold", resize({8, 10}, {0.5}, "nearest", 0));
  for (const double bad : {0.0, -1.0, 1e300, std::nan(""), HUGE_VAL})
    CHECK_THROWS(ErrorCode::Shape, "scale must be positive", resize({8, 10}, {0.5, bad}, "bilinear", 0));
}

void operands() {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, 6, 4, 5}), se = g.add_input("se", {kBatch, 6, 1, 1}),
                flat = g.add_input("flat", {kBatch, 5});
  const auto add = [&](ValueId a, ValueId b) { return shape_of(g, g.add_node(Op::Mul, {a, b})); };
  const auto with = [&](const Shape& c) { return add(x, constant(g, g.unique_name("c"), c)); };
  CHECK(add(x, se) == shape_of(g, x) && add(se, x) == shape_of(g, x) && with({}) == shape_of(g, x));
  CHECK(with({5}) == shape_of(g, x) && with({6, 1, 1}) == shape_of(g, x) && with({1, 6, 4, 1}) == shape_of(g, x));
  CHECK(add(constant(g, "left", {3, 1}), g.add_input("thin", {kBatch, 1, 7})) == Shape({kBatch, 3, 7}));
  CHECK_THROWS(ErrorCode::Shape, "same rank", add(x, flat));
  CHECK_THROWS(ErrorCode::Shape, "axis 3 is 5 and 4", with({4}));
  CHECK_THROWS(ErrorCode::Shape, "1 on the batch axis", with({2, 6, 4, 5}));
  CHECK_THROWS(ErrorCode::Shape, "more axes", with({1, 1, 6, 4, 5}));

  const auto concat = [&](std::vector<ValueId> in, std::int64_t axis) {
    return shape_of(g, g.add_node(Op::Concat, in, {{"axis", axis}}));
  };
  CHECK(concat({x, x, x}, 1) == Shape({kBatch, 18, 4, 5}));
  CHECK_THROWS(ErrorCode::Shape, "differ outside axis 1", concat({x, se}, 1));
  CHECK_THROWS(ErrorCode::Shape, "differ in rank", concat({x, flat}, 1));
  CHECK_THROWS(ErrorCode::Shape, "axis must be", concat({x, x}, 0));
  CHECK_THROWS(ErrorCode::Graph, "expected 1 to 1024 inputs", concat({}, 1));

  const ValueId w = constant(g, "w", {3, 5}), b = constant(g, "b", {3});
  CHECK(shape_of(g, g.add_node(Op::Linear, {x, w, b})) == Shape({kBatch, 6, 4, 3}));
  CHECK_THROWS(ErrorCode::Shape, "expected a weight [M, 1]", g.add_node(Op::Linear, {se, w}));
  CHECK_THROWS(ErrorCode::Shape, "expected bias of shape [3]",
               g.add_node(Op::Linear, {flat, w, constant(g, "b4", {4})}));
  CHECK_THROWS(ErrorCode::Shape, "expected residual of shape [N, 3]", g.add_node(Op::Linear, {flat, w, b, flat}));
  const ValueId c6 = constant(g, "c6", {6}), c1 = constant(g, "c1", {1});
  CHECK(shape_of(g, g.add_node(Op::BatchNorm, {x, c6, c6, c6, c6})) == shape_of(g, x));
  CHECK_THROWS(ErrorCode::Shape, "expected mean of shape [6]", g.add_node(Op::BatchNorm, {x, c6, c6, c1, c6}));
  CHECK(shape_of(g, g.add_node(Op::PRelu, {x, c1})) == shape_of(g, x));
  CHECK_THROWS(ErrorCode::Shape, "expected slope of shape [6]", g.add_node(Op::PRelu, {x, b}));

  const auto act = [&](const char* name, double a, double bb) {
    return g.add_node(Op::Activation, {x}, {{"act", std::string(name)}, {"act_a", a}, {"act_b", bb}});
  };
  act("clip", 0, 6);
  CHECK_THROWS(ErrorCode::Graph, "min <= max", act("clip", 1, 0));
  CHECK_THROWS(ErrorCode::Graph, "finite", act("clip", 0, HUGE_VAL));
  CHECK_THROWS(ErrorCode::Graph, "finite", act("leaky_relu", std::nan(""), 0));
  CHECK_THROWS(ErrorCode::Graph, "unknown activation 'swish'", act("swish", 0, 0));
  for (const double eps : {0.0, -1e-5, 1e-60})
    CHECK_THROWS(ErrorCode::Graph, "eps must be positive",
                 g.add_node(Op::BatchNorm, {x, c6, c6, c6, c6}, {{"eps", eps}}));
}

void compacting() {
  Graph g = small_graph();
  g.add_node(Op::Identity, {0}, {}, "unused");
  constant(g, "unused_constant", {3});
  g.add_input("spare", {kBatch, 2});
  std::reverse(g.nodes.begin(), g.nodes.end());
  g.compact();
  g.verify();
  CHECK(g.nodes.size() == 3 && g.nodes[0].name == "conv" && g.nodes[2].name == "out" && g.values.size() == 7);
  CHECK(g.inputs.size() == 2 && g.find("unused") == kNoValue && g.find("unused_constant") == kNoValue);

  g.nodes[0].inputs[0] = g.nodes[1].output;
  CHECK_THROWS(ErrorCode::Graph, "its own output", g.compact());

  // Long chains, in order and backwards, must not use up the stack.
  Graph chain;
  ValueId v = chain.add_input("x", {kBatch, 1});
  for (int i = 0; i < 20000; ++i) {
    chain.values.push_back(Value{"v" + std::to_string(i), {kBatch, 1}, nullptr});
    chain.nodes.push_back(
        Node{Op::Identity, "v" + std::to_string(i), {v}, static_cast<ValueId>(chain.values.size()) - 1, {}});
    v = chain.nodes.back().output;
  }
  chain.set_output(v);
  std::reverse(chain.nodes.begin(), chain.nodes.end());
  chain.compact();
  chain.verify();
  CHECK(chain.nodes.size() == 20000);
}

void reinference() {
  Graph g = small_graph();
  g.values[0].shape = {kBatch, 4, 10, 12};
  CHECK_THROWS(ErrorCode::Shape, "said to be", g.verify());
  g.infer_shapes();
  g.verify();
  CHECK(shape_of(g, g.outputs[0]) == Shape({kBatch, 4, 10, 12}));
  g.nodes[1].output = -3;
  CHECK_THROWS(ErrorCode::Graph, "its output is value -3", g.infer_shapes());
}

}  // namespace

int main() {
  RUN(table_parses);
  RUN(building);
  RUN(windows);
  RUN(layout);
  RUN(operands);
  RUN(compacting);
  RUN(reinference);
  return check::finish();
}
