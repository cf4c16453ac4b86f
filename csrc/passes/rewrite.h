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

  std::vector<int> writer;                // node or -1
  std::vector<std::vector<int>> readers;  // one entry a use: x + x lists its node twice
  std::vector<char> live;                 // by node
  std::vector<char> is_output;            // by value

  // The node that alone reads v, once, where v is no graph output; else -1.
  int sole_reader(ValueId v) const;
  // The node that writes v if v has a sole reader; else -1.
  int private_writer(ValueId v) const;
};

// A rule looks at one node and may rewrite the graph around it; true if it did.
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
// Gives the node other numbers for its constant input i: under the old name, unless somebody else reads that too.
void set_constant(Graph& graph, int node, std::size_t i, Shape shape, std::vector<float> data);

const Value& input_value(const Graph& graph, const Node& node, std::size_t i);
const Shape& output_shape(const Graph& graph, const Node& node);

bool has_act(Op op);                              // the op has the attributes of a trailing activation
bool is_act(const Node& node, const char* name);  // an Activation node of that name
bool acts(const Node& node);                      // its trailing activation is not "none"
void copy_act(Node& to, const Node& from);
void clear_act(Node& node);

}  // namespace sn
