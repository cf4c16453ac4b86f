// The portable IR: what frontends build, passes rewrite and .snet files hold. Weights are fp32 arrays with
// zeros in them; nothing here knows the machine.
//
// Rules (verify() checks them all):
//  - Nodes are in topological order; each has one output; value names are unique and non-empty.
//  - Every value is an input, a constant, or the output of exactly one node.
//  - There is an input and an output. Outputs are distinct and each is a node's (an Identity if need be).
//  - Weights, biases, batch norm's parameters and PReLU's slope are constants; all other inputs are activations, but
//    for one side of Add, Sub, Mul and Div.
//  - Axis 0 of every activation is the batch, written kBatch in its shape. `fixed_batch` > 0 says the graph only
//    holds for that batch size; shapes are written with kBatch all the same.
//  - Constants have concrete shapes. Other dimensions are >= 1 (constants may not be empty either). Ranks are at most
//    kMaxRank; a tensor has fewer than kMaxElements elements (activations: per sample).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "graph/names.h"
#include "graph/sparse_floats.h"

namespace sn {

enum class Op : int {
#define SN_OP(name, min_in, max_in, attrs) name,
#include "graph/ops.inc"
#undef SN_OP
  kCount
};

const char* op_name(Op op);
Op op_from_name(const std::string& name);  // throws UnsupportedOp

using Shape = std::vector<std::int64_t>;
constexpr std::int64_t kBatch = -1;
constexpr std::size_t kMaxRank = 8;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 40;
std::string to_string(const Shape& shape);  // "[N, 64, 56, 56]"

using ValueId = int;
constexpr ValueId kNoValue = -1;

using Attr = std::variant<std::int64_t, double, std::vector<std::int64_t>, std::vector<double>, std::string>;
using Attrs = std::map<std::string, Attr>;

struct Value {
  std::string name;
  Shape shape;
  // A constant's prod(shape) floats, row-major, immutable and shared between graphs, in one of two forms: arrays with
  // many zeros are held compressed. Both null for activations.
  std::shared_ptr<const float> data = nullptr;
  std::shared_ptr<const SparseFloats> sparse = nullptr;

  bool is_constant() const { return data || sparse; }
  std::int64_t size() const;  // elements; per sample where axis 0 is kBatch
  // `data`, or a dense copy of `sparse` that lives as long as the caller holds it. Null for activations.
  std::shared_ptr<const float> dense() const;
};

// Moves the numbers of a constant into the compressed form if that is the smaller one.
void compress(Value& constant);

struct Node {
  Op op{};
  std::string name;
  std::vector<ValueId> inputs;  // kNoValue where an optional input is absent; never trailing
  ValueId output = kNoValue;
  Attrs attrs;  // complete: defaults are filled in by Graph::add_node

  bool has_input(std::size_t i) const { return i < inputs.size() && inputs[i] != kNoValue; }
  std::int64_t i(const char* attr) const;
  double f(const char* attr) const;
  const std::vector<std::int64_t>& ints(const char* attr) const;
  const std::vector<double>& floats(const char* attr) const;
  const std::string& str(const char* attr) const;
};

class Graph {
 public:
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs, outputs;
  std::int64_t fixed_batch = 0;  // 0: any

  ValueId add_input(const std::string& name, Shape shape);  // shape[0] must be kBatch
  ValueId add_constant(const std::string& name, Shape shape, std::shared_ptr<const float> data);
  ValueId add_constant(const std::string& name, Shape shape, const std::vector<float>& data);
  // Fills in default attributes, checks them against the ops table, infers the output's shape. An empty name is
  // made up from the op. The output value takes the node's name.
  ValueId add_node(Op op, std::vector<ValueId> in, Attrs attrs = {}, const std::string& name = {});
  void set_output(ValueId v) { outputs.push_back(v); }

  ValueId find(const std::string& value_name) const;       // kNoValue if absent
  std::string unique_name(const std::string& wish) const;  // wish, or wish_1, wish_2, ...
  void swap_names(ValueId a, ValueId b);

  void infer_shapes();  // again, for every node, after a pass changed something; throws Shape
  void verify() const;  // throws Graph or Shape with the first broken rule
  // Drops nodes and values that no output needs, puts nodes in topological order (keeping the old one where it is
  // right), renumbers. Inputs always stay.
  void compact();

  // For each value, the nodes that read it (indices into nodes).
  std::vector<std::vector<int>> consumers() const;
  // For each value, the node that writes it, or -1.
  std::vector<int> producers() const;

 private:
  mutable NameIndex names_;
};

// The output shape of `node`, whose inputs are in `graph`. Throws Shape naming node, expected and got.
Shape infer_shape(const Graph& graph, const Node& node);

}  // namespace sn
