// The IR's executable spec: the rules at the head of graph.h. Safe on any graph, however hostile, but for one thing
// it cannot see: that a constant's data is as long as its shape says.
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <unordered_set>

#include "graph/shape.h"

namespace sn {
namespace {

bool in_range(const Graph& graph, ValueId v) {
  return v >= 0 && static_cast<std::size_t>(v) < graph.values.size();
}

enum class Operand { Activation, Constant, Either };

Operand operand(Op op, std::size_t i) {
  switch (op) {
    case Op::Conv:
    case Op::ConvTranspose:
    case Op::Linear:
      return i == 1 || i == 2 ? Operand::Constant : Operand::Activation;
    case Op::BatchNorm:
    case Op::PRelu:
      return i >= 1 ? Operand::Constant : Operand::Activation;
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Div:
      return Operand::Either;
    default:
      return Operand::Activation;
  }
}

void check_inputs(const Graph& graph, const Node& node) {
  const OpInfo& info = op_info(node.op);
  const std::size_t count = node.inputs.size(), fewest = static_cast<std::size_t>(info.min_in);
  if (count < fewest || count > static_cast<std::size_t>(info.max_in))
    fail(ErrorCode::Graph, label(node), ": expected ", info.min_in, " to ", info.max_in, " inputs, got ", count);
  if (count > fewest && node.inputs.back() == kNoValue)
    fail(ErrorCode::Graph, label(node), ": its last input is absent; drop it");
  bool any_activation = false;
  for (std::size_t i = 0; i < count; ++i) {
    const ValueId v = node.inputs[i];
    if (v == kNoValue && i >= fewest) continue;
    if (v == kNoValue) fail(ErrorCode::Graph, label(node), ": input ", i, " is absent but required");
    if (!in_range(graph, v))
      fail(ErrorCode::Graph, label(node), ": input ", i, " is value ", v, " of ", graph.values.size());
    const Value& value = graph.values[static_cast<std::size_t>(v)];
    const Operand want = operand(node.op, i);
    if (want == Operand::Constant && !value.is_constant())
      fail(ErrorCode::Graph, label(node), ": input ", i, " '", value.name, "' must be a constant, got an activation");
    if (want == Operand::Activation && value.is_constant())
      fail(ErrorCode::Graph, label(node), ": input ", i, " '", value.name, "' must be an activation, got a constant");
    any_activation |= !value.is_constant();
  }
  if (!any_activation) fail(ErrorCode::Graph, label(node), ": all its inputs are constants; compute it beforehand");
}

bool fits_float(double v) {
  return std::abs(v) <= static_cast<double>(std::numeric_limits<float>::max());
}

void check_attrs(const Node& node) {
  const std::string who = label(node) + ": ";
  const OpInfo& info = op_info(node.op);
  for (const auto& [name, value] : complete_attrs(node.op, node.name, node.attrs)) {
    const auto it = node.attrs.find(name);
    if (it == node.attrs.end() || it->second.index() != value.index())
      fail(ErrorCode::Graph, who, "attribute '", name, "' is missing or of another kind; add_node would complete it");
  }
  const auto one_of = [&](const char* attr, std::initializer_list<const char*> allowed) {
    std::string list;
    for (const char* a : allowed) {
      if (node.str(attr) == a) return;
      list += std::string(list.empty() ? "" : ", ") + a;
    }
    fail(ErrorCode::Graph, who, attr, " must be one of ", list, ", got '", node.str(attr), "'");
  };
  for (const AttrInfo& a : info.attrs) {
    if (a.kind == AttrKind::Float && !fits_float(node.f(a.name.c_str())))
      fail(ErrorCode::Graph, who, a.name, " must be a finite float32, got ", node.f(a.name.c_str()));
    for (const char* flag : {"ceil_mode", "count_include_pad", "keepdim", "align_corners", "log"})
      if (a.name == flag && node.i(flag) != 0 && node.i(flag) != 1)
        fail(ErrorCode::Graph, who, flag, " must be 0 or 1, got ", node.i(flag));
  }
  if (info.find("act")) {
    const std::string& act = node.str("act");
    if (!is_act(act)) fail(ErrorCode::Graph, who, "unknown activation '", act, "'");
    if (act == "clip" && node.f("act_a") > node.f("act_b"))
      fail(ErrorCode::Graph, who, "clip needs min <= max, got ", node.f("act_a"), " and ", node.f("act_b"));
  }
  switch (node.op) {
    case Op::BatchNorm:
      // As a float, so that kernels cannot see a zero either.
      if (!(static_cast<float>(node.f("eps")) > 0))
        fail(ErrorCode::Graph, who, "eps must be positive, got ", node.f("eps"));
      break;
    case Op::AvgPool:
      if (node.i("divisor_override") < 0 || node.i("divisor_override") > kMaxExtent)
        fail(ErrorCode::Graph, who, "divisor_override must be 0 (none) or positive, got ", node.i("divisor_override"));
      break;
    case Op::Pad:
      one_of("mode", {"constant", "reflect", "replicate"});
      break;
    case Op::Resize:
      one_of("mode", {"nearest", "bilinear"});
      if (node.str("mode") == "nearest" && node.i("align_corners"))
        fail(ErrorCode::Graph, who, "align_corners applies to mode=bilinear only");
      break;
    default:
      break;
  }
}

enum : char { kUndefined, kInput, kConstant, kResult };

// How each value comes about; throws on a name or a shape that breaks a rule, or two origins.
std::vector<char> check_values(const Graph& graph) {
  std::vector<char> origin(graph.values.size(), kUndefined);
  std::set<std::string> names;  // ordered: a file can hold names whose hashes collide
  for (std::size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (value.name.empty()) fail(ErrorCode::Graph, "value ", v, " has no name");
    if (!names.insert(value.name).second) fail(ErrorCode::Graph, "two values are named '", value.name, "'");
    if (value.is_constant()) {
      origin[v] = kConstant;
      check_constant_shape("constant '" + value.name + "'", value.shape);
    } else {
      check_activation_shape("activation '" + value.name + "'", value.shape);
    }
  }
  for (const ValueId v : graph.inputs) {
    if (!in_range(graph, v)) fail(ErrorCode::Graph, "an input is value ", v, " of ", graph.values.size());
    char& from = origin[static_cast<std::size_t>(v)];
    const std::string& name = graph.values[static_cast<std::size_t>(v)].name;
    if (from == kConstant) fail(ErrorCode::Graph, "input '", name, "' has data, as only constants have");
    if (from == kInput) fail(ErrorCode::Graph, "input '", name, "' is listed twice");
    from = kInput;
  }
  return origin;
}

}  // namespace

void check_node(const Graph& graph, const Node& node) {
  if (!is_op(node.op))
    fail(ErrorCode::UnsupportedOp, "node '", node.name, "': no op has the number ", static_cast<int>(node.op));
  check_inputs(graph, node);
  check_attrs(node);
}

void Graph::verify() const {
  if (fixed_batch < 0 || fixed_batch > kMaxExtent)
    fail(ErrorCode::Graph, "fixed_batch must be 0 (any) or positive, got ", fixed_batch);
  if (inputs.empty()) fail(ErrorCode::Graph, "the graph has no input");
  if (outputs.empty()) fail(ErrorCode::Graph, "the graph has no output; name one with set_outputs");

  std::vector<char> origin = check_values(*this);
  for (const Node& node : nodes) {
    if (node.name.empty())
      fail(ErrorCode::Graph, "a node (", is_op(node.op) ? op_name(node.op) : "unknown op", ") has no name");
    const Shape shape = infer_shape(*this, node);
    for (const ValueId v : node.inputs)
      if (v != kNoValue && origin[static_cast<std::size_t>(v)] == kUndefined)
        fail(ErrorCode::Graph, label(node), ": it reads '", values[static_cast<std::size_t>(v)].name,
             "' before any node has written it");
    if (!in_range(*this, node.output))
      fail(ErrorCode::Graph, label(node), ": its output is value ", node.output, " of ", values.size());
    const Value& out = values[static_cast<std::size_t>(node.output)];
    char& from = origin[static_cast<std::size_t>(node.output)];
    if (from != kUndefined)
      fail(ErrorCode::Graph, label(node), ": it writes '", out.name, "', which is already ",
           from == kInput      ? "an input"
           : from == kConstant ? "a constant"
                               : "another node's output");
    if (out.shape != shape)
      fail(ErrorCode::Shape, label(node), ": '", out.name, "' is said to be ", to_string(out.shape),
           " but the op gives ", to_string(shape));
    from = kResult;
  }
  for (std::size_t v = 0; v < values.size(); ++v)
    if (origin[v] == kUndefined)
      fail(ErrorCode::Graph, "value '", values[v].name, "' is neither an input, nor a constant, nor any node's output");

  std::unordered_set<ValueId> seen;
  for (const ValueId v : outputs) {
    if (!in_range(*this, v)) fail(ErrorCode::Graph, "an output is value ", v, " of ", values.size());
    const std::string& name = values[static_cast<std::size_t>(v)].name;
    if (origin[static_cast<std::size_t>(v)] != kResult)
      fail(ErrorCode::Graph, "output '", name, "' is no node's output; put an Identity node before it");
    if (!seen.insert(v).second)
      fail(ErrorCode::Graph, "output '", name, "' is listed twice; put an Identity node before one of them");
  }
}

}  // namespace sn
