// verify() against graphs that no builder would make: it stands between a hostile file and the kernels.
#include <limits>
#include <random>

#include "check.h"
#include "graph/graph.h"
#include "graph/ops.h"
#include "graphs.h"

using namespace graphs;

namespace {

const std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

// Each case breaks one rule of a graph that verifies; none of them could be built with add_node.
void hostile() {
  const auto broken = [](ErrorCode code, const char* part, auto spoil) {
    Graph g = small_graph();
    g.verify();
    spoil(g);
    CHECK_THROWS(code, part, g.verify());
  };
  const ErrorCode G = ErrorCode::Graph, S = ErrorCode::Shape;
  CHECK_THROWS(G, "no input", Graph().verify());
  broken(G, "no output", [](Graph& g) { g.outputs.clear(); });
  broken(G, "an output is value 77", [](Graph& g) { g.outputs[0] = 77; });
  broken(G, "an output is value -1", [](Graph& g) { g.outputs[0] = kNoValue; });
  broken(G, "no node's output", [](Graph& g) { g.outputs[0] = 0; });
  broken(G, "no node's output", [](Graph& g) { g.outputs[0] = 1; });
  broken(G, "listed twice", [](Graph& g) { g.outputs.push_back(g.outputs[0]); });
  broken(G, "an input is value -5", [](Graph& g) { g.inputs.push_back(-5); });
  broken(G, "an input is value", [](Graph& g) { g.inputs.push_back(std::numeric_limits<int>::max()); });
  broken(G, "listed twice", [](Graph& g) { g.inputs.push_back(0); });
  broken(G, "has data", [](Graph& g) { g.inputs.push_back(1); });
  broken(G, "already an input", [](Graph& g) { g.inputs.push_back(g.nodes[0].output); });
  broken(G, "fixed_batch", [](Graph& g) { g.fixed_batch = -1; });
  broken(G, "fixed_batch", [](Graph& g) { g.fixed_batch = kHuge; });
  broken(G, "has no name", [](Graph& g) { g.values[3].name.clear(); });
  broken(G, "a node (Conv) has no name", [](Graph& g) { g.nodes[0].name.clear(); });
  broken(G, "two values are named 'x'", [](Graph& g) { g.values[3].name = "x"; });
  broken(G, "neither an input", [](Graph& g) { g.values.push_back(Value{"orphan", {kBatch}, nullptr}); });
  broken(S, "said to be", [](Graph& g) { g.values[static_cast<std::size_t>(g.outputs[0])].shape[2] = 9; });
  broken(S, "batch", [](Graph& g) { g.values[0].shape.clear(); });
  broken(S, "batch", [](Graph& g) { g.values[0].shape[0] = 1; });
  for (const std::int64_t d : {std::int64_t{0}, std::int64_t{-1}, kHuge, -kHuge - 1, kMaxElements})
    for (const std::size_t v : {0u, 1u, 2u, 3u}) broken(S, "", [&](Graph& g) { g.values[v].shape.back() = d; });
  broken(S, "2^40", [](Graph& g) { g.values[0].shape = {kBatch, 1 << 20, 1 << 20, 1}; });
  broken(S, "2^40", [](Graph& g) { g.values[0].shape = {kBatch, kHuge, kHuge, kHuge, kHuge}; });
  broken(S, "2^40", [](Graph& g) { g.values[0].shape = {kBatch, kMaxElements - 1, kMaxElements - 1, 1}; });
  broken(S, "rank", [](Graph& g) {
    g.values[0].shape = Shape(1000000, 1);
    g.values[0].shape[0] = kBatch;
  });

  broken(G, "before any node", [](Graph& g) { std::swap(g.nodes[0], g.nodes[1]); });
  broken(G, "before any node", [](Graph& g) { g.nodes[1].inputs[0] = g.nodes[1].output; });
  broken(G, "already another node's", [](Graph& g) { g.nodes[1].output = g.nodes[0].output; });
  broken(G, "already an input", [](Graph& g) { g.nodes[1].output = 0; });
  broken(G, "already a constant", [](Graph& g) { g.nodes[1].output = 1; });
  broken(G, "its output is value -1", [](Graph& g) { g.nodes[1].output = kNoValue; });
  broken(G, "its output is value 6", [](Graph& g) { g.nodes[1].output = 6; });
  broken(G, "input 0 is value 6 of 6", [](Graph& g) { g.nodes[1].inputs[0] = 6; });
  broken(G, "input 0 is value -2", [](Graph& g) { g.nodes[1].inputs[0] = -2; });
  broken(G, "input 0 is absent", [](Graph& g) { g.nodes[1].inputs[0] = kNoValue; });
  broken(G, "last input is absent", [](Graph& g) { g.nodes[0].inputs[2] = kNoValue; });
  broken(G, "inputs, got 0", [](Graph& g) { g.nodes[1].inputs.clear(); });
  broken(G, "inputs, got 100000", [](Graph& g) { g.nodes[1].inputs.resize(100000, 0); });
  broken(G, "must be a constant", [](Graph& g) { g.nodes[0].inputs[1] = 0; });
  broken(G, "must be a constant", [](Graph& g) {
    g.values[1].data = nullptr;
    g.values[1].shape[0] = kBatch;
  });
  for (const int op : {-1, static_cast<int>(Op::kCount), 1 << 30, std::numeric_limits<int>::min()})
    broken(ErrorCode::UnsupportedOp, "number", [&](Graph& g) { g.nodes[0].op = static_cast<Op>(op); });
  broken(G, "'act' is missing", [](Graph& g) { g.nodes[0].attrs.erase("act"); });
  broken(G, "of another kind", [](Graph& g) { g.nodes[0].attrs["act_a"] = std::int64_t{0}; });
  broken(G, "is missing", [](Graph& g) { g.nodes[0].attrs.erase("stride"); });
  broken(G, "unknown attribute", [](Graph& g) { g.nodes[0].attrs["x"] = 1.0; });
  broken(G, "must be ints, got str", [](Graph& g) { g.nodes[0].attrs["stride"] = std::string("1"); });
  for (const char* attr : {"stride", "padding", "dilation"})
    for (const Ints& bad :
         {Ints{}, Ints(1, 1), Ints(1000000, 1), Ints(attr[0] == 'p' ? 4 : 2, kHuge), Ints(4, -kHuge - 1)})
      broken(S, "", [&](Graph& g) { g.nodes[0].attrs[attr] = bad; });
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-1}, kHuge, -kHuge - 1})
    broken(S, "groups", [&](Graph& g) { g.nodes[0].attrs["groups"] = bad; });
}

// Random damage: whatever verify says, it must neither crash nor hang nor overflow (the sanitizers watch).
void damaged() {
  std::mt19937_64 random(3);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    Graph g = small_graph();
    const std::int64_t choices[] = {0, 1, 2, 5, -1, kHuge, -kHuge - 1, kMaxElements - 1, 1 << 30};
    const auto number = [&] { return choices[random() % std::size(choices)]; };
    for (std::size_t hits = 1 + random() % 4; hits--;) {
      Node& node = g.nodes[random() % g.nodes.size()];
      Shape& shape = g.values[random() % g.values.size()].shape;
      switch (random() % 6) {
        case 0:
          node.op = static_cast<Op>(random() % 40);
          break;
        case 1:
          node.inputs[random() % node.inputs.size()] = static_cast<int>(random() % 8) - 1;
          break;
        case 2:
          node.output = static_cast<int>(random() % 8) - 1;
          break;
        case 3:
          shape[random() % shape.size()] = number();
          break;
        case 4:
          g.nodes[0].attrs["stride"] = Ints{number(), number()};
          break;
        default:
          g.nodes[0].attrs["padding"] = Ints{number(), number(), number(), number()};
      }
    }
    try {
      g.verify();
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 2000 && refused < 3000);
}

}  // namespace

int main() {
  RUN(hostile);
  RUN(damaged);
  return check::finish();
}
