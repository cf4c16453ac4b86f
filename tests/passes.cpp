// The passes from C++, where no Python can help: they also run under sanitizers and on other machines. What they
// compute is held against the reference in test_passes.py; here it is names, structure, ownership.
#include "passes/passes.h"

#include "check.h"
#include "graphs.h"
#include "passes/affine.h"
#include "passes/channels.h"

using namespace graphs;

namespace {

std::vector<std::string> only(const std::string& name) {
  std::vector<std::string> others;
  for (const Pass& pass : all_passes())
    if (pass.name != name) others.push_back(pass.name);
  return others;
}

// Two convolutions with batch norm and ReLU each; `dead` filters of the first emit zero.
Graph chain(const std::vector<int>& dead) {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, 3, 6, 6});
  std::vector<float> w = noise(8 * 3 * 9), gamma = noise(8), beta = noise(8);
  for (const int m : dead) {
    std::fill_n(w.begin() + m * 27, 27, 0.0f);
    gamma[m] = beta[m] = 0;
  }
  ValueId y = g.add_node(Op::Conv, {x, g.add_constant("w1", {8, 3, 3, 3}, w)}, conv_attrs({1, 1}, {1, 1, 1, 1}, {1, 1}),
                         "conv1");
  std::vector<float> var = noise(8);
  for (float& v : var) v += 1;
  y = g.add_node(Op::BatchNorm,
                 {y, g.add_constant("gamma", {8}, gamma), g.add_constant("beta", {8}, beta), constant(g, "mean", {8}),
                  g.add_constant("var", {8}, var)},
                 {}, "bn");
  y = g.add_node(Op::Activation, {y}, {{"act", "relu"}}, "relu");
  y = g.add_node(Op::Conv, {y, constant(g, "w2", {5, 8, 3, 3}), constant(g, "b2", {5})},
                 conv_attrs({2, 2}, {1, 1, 1, 1}, {1, 1}), "conv2");
  g.set_output(g.add_node(Op::Activation, {y}, {{"act", "relu"}}, "out"));
  g.verify();
  return g;
}

void chain_shrinks_and_fuses() {
  Graph g = chain({1, 6});
  const Graph before = g;
  run_passes(g);
  g.verify();
  CHECK(g.nodes.size() == 2);
  CHECK(g.values[g.nodes[0].inputs[1]].shape == Shape{6, 3, 3, 3});
  CHECK(g.values[g.nodes[1].inputs[1]].shape == Shape{5, 6, 3, 3});
  CHECK(g.nodes[1].str("act") == "relu");
  CHECK(g.values[g.outputs[0]].name == "out");
  CHECK(g.values[g.outputs[0]].shape == before.values[before.outputs[0]].shape);
  Graph again = g;
  run_passes(again);
  CHECK(again.nodes.size() == 2 && again.values.size() == g.values.size());
}

// Graphs share their weights: what one rewrites, the other must not see.
void copies_are_left_alone() {
  Graph g = chain({1});
  const Graph before = g;
  std::vector<std::vector<float>> data;
  for (const Value& v : before.values) data.emplace_back(v.data.get(), v.data.get() + (v.is_constant() ? v.size() : 0));
  run_passes(g);
  bool same = true;
  for (std::size_t i = 0; i < data.size(); ++i)
    same &= std::equal(data[i].begin(), data[i].end(), before.values[i].data.get());
  CHECK(same);
  before.verify();
}

void each_pass_says_whether_it_changed_something() {
  for (const Pass& pass : all_passes()) {
    Graph g = chain({0, 3});
    run_passes(g, only(pass.name));
    g.verify();
    CHECK(!pass.run(g));
  }
  Graph g = chain({});
  CHECK(!all_passes()[0].run(g));
  CHECK_THROWS(ErrorCode::InvalidArgument, "the passes are remove_noops", run_passes(g, {"nothing"}));
}

void small_graph_becomes_one_convolution() {
  Graph g = small_graph();  // out = relu(conv(x)) + x: the activation comes before the sum, so the sum stays
  run_passes(g);
  g.verify();
  CHECK(g.nodes.size() == 2);
  CHECK(g.nodes[0].str("act") == "relu" && g.nodes[1].op == Op::Add);
}

void merged_scales_are_exact_batch_norms() {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, 3});
  const ValueId two = g.add_constant("two", {3}, {2, 4, 8}), one = g.add_constant("one", {}, {0.5f});
  g.set_output(g.add_node(Op::Add, {one, g.add_node(Op::Mul, {x, two})}, {}, "y"));
  run_passes(g);
  Affine affine;
  CHECK(g.nodes.size() == 1 && match_affine(g, g.nodes[0], 1, &affine));
  CHECK(affine.scale == std::vector<double>{2, 4, 8} && affine.shift == std::vector<double>(3, 0.5));
}

void constants_are_tracked_through_layers() {
  Graph g = chain({1, 6});
  const Channels channels(g);
  const std::vector<double> constant = constant_channels(g, channels);
  const auto at = [&](const char* name, int c) { return constant[channels.id(g.find(name), c)]; };
  CHECK(at("conv1", 1) == 0 && at("bn", 6) == 0 && at("relu", 1) == 0);
  CHECK(at("conv1", 0) != at("conv1", 0) && at("x", 0) != at("x", 0) && at("out", 0) != at("out", 0));
}

}  // namespace

int main() {
  RUN(chain_shrinks_and_fuses);
  RUN(copies_are_left_alone);
  RUN(each_pass_says_whether_it_changed_something);
  RUN(small_graph_becomes_one_convolution);
  RUN(merged_scales_are_exact_batch_norms);
  RUN(constants_are_tracked_through_layers);
  return check::finish();
}
