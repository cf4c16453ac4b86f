// What rewriting rules share: who reads what, taking nodes out, new constants, fused activations.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace sn {

// Readers and writers over the nodes that some output needs; the others count for nothing.
struct Links {
  explicit Links(const Graph& graph);

  // The nodes that a rule applied to `node` may change: itself, those that write its inputs, those that read its
  // output.
  std::vector<int> around(const Graph& graph, int node) const;
  // Takes in what changed of these nodes, so that a change costs what it touches and not another look at the graph.
  void update(const Graph& graph, const std::vector<int>& changed);

  std::vector<int> writer;                // node or -1
  std::vector<std::vector<int>> readers;  // one entry a use: x + x lists its node twice
  std::vector<char> live;                 // by node
  std::vector<char> is_output;            // by value

  // The node that alone reads v, once, where v is no graph output; else -1.
  int sole_reader(ValueId v) const;
  // The node that writes v if v has a sole reader; else -1.
  int private_writer(ValueId v) const;
  bool is_shared(ValueId v) const { return readers[v].size() > 1; }

 private:
  void grow(const Graph& graph);
  void mark_outputs(const Graph& graph);
  void forget_reader(ValueId v, int node);
  void bury(int node);  // nobody needs it: it reads nothing any more

  std::vector<std::vector<ValueId>> reads_;  // by node, as last taken in
  std::vector<ValueId> writes_, outputs_;
};

// A rule looks at one node and may rewrite the graph around it (see Links::around); true if it did.
using Rule = bool (*)(Graph& graph, const Links& links, int node);

// Applies the rules to every node, in order, until none applies to it; then compacts. True if any did.
bool rewrite(Graph& graph, std::initializer_list<Rule> rules);

// Makes every reader of the node's output read x and takes the node out. A graph output keeps its name, so this
// fails where x has a name to keep as well, or is no node's output.
bool bypass(Graph& graph, const Links& links, int node, ValueId x);

// `producer` writes what `node` wrote, under its name; the node is taken out.
void absorb(Graph& graph, int producer, int node);

// Turns a node into another one, in place.
void replace(Graph& graph, int node, Op op, std::vector<ValueId> inputs, Attrs attrs);

ValueId add_floats(Graph& graph, const std::string& wish, Shape shape, const std::vector<double>& data);
// Gives the node other numbers for its constant input i: in its place, or, if somebody else reads that too, beside it.
void set_constant(Graph& graph, int node, std::size_t i, bool shared, Value numbers);

// Which values several nodes read (or one node twice), as of now; what is added later has one reader.
class Shared {
 public:
  explicit Shared(const Graph& graph);
  bool operator[](ValueId v) const { return static_cast<std::size_t>(v) < uses_.size() && uses_[v] > 1; }

 private:
  std::vector<int> uses_;
};

// A constant without a name as yet.
Value make_constant(Shape shape, std::vector<float> data);

const Value& input_value(const Graph& graph, const Node& node, std::size_t i);
const Shape& output_shape(const Graph& graph, const Node& node);

bool has_act(Op op);                              // the op has the attributes of a trailing activation
bool is_act(const Node& node, const char* name);  // an Activation node of that name
bool acts(const Node& node);                      // its trailing activation is not "none"
void copy_act(Node& to, const Node& from);
void clear_act(Node& node);

}  // namespace sn
