// The ops table of ops.inc, parsed: what the bindings show, the reader trusts and verify() enforces.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace sn {

enum class AttrKind { Int, Float, Ints, Floats, Str };  // in the order of Attr's alternatives

const char* attr_kind_name(AttrKind kind);  // as ops.inc spells it

struct AttrInfo {
  std::string name;
  AttrKind kind{};
  bool has_default = false;
  Attr default_value;  // meaningful only if has_default
};

struct OpInfo {
  const char* name;
  int min_in, max_in;
  std::vector<AttrInfo> attrs;  // in the order of ops.inc

  const AttrInfo* find(const std::string& attr) const;  // null if the op has no such attribute
};

bool is_op(Op op);                     // false for numbers that no op has
const OpInfo& op_info(Op op);          // throws UnsupportedOp unless is_op(op)
bool is_act(const std::string& name);  // a name that the attribute `act` may hold

// Checks `attrs` against the table and completes them with defaults; ints become floats where floats are asked for.
// Throws Graph naming `node`, the attribute and the allowed ones.
Attrs complete_attrs(Op op, const std::string& node, Attrs attrs);

std::string label(const Node& node);  // "node 'conv1' (Conv)", for messages

}  // namespace sn
