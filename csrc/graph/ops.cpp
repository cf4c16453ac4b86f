#include "graph/ops.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

#include "base/error.h"

namespace sn {
namespace {

constexpr int kOpCount = static_cast<int>(Op::kCount);
const char* const kKindNames[] = {"int", "float", "ints", "floats", "str"};
const char* const kActNames[] = {"none",       "relu",         "clip",    "leaky_relu", "silu",
                                 "hard_swish", "hard_sigmoid", "sigmoid", "tanh",       "gelu",
                                 "gelu_tanh",  "exp",          "sqrt",    "abs",        "neg"};

AttrKind parse_kind(const std::string& text) {
  for (int k = 0; k < 5; ++k)
    if (text == kKindNames[k]) return static_cast<AttrKind>(k);
  fail(ErrorCode::Internal, "ops.inc: unknown attribute kind '", text, "'");
}

Attr parse_default(AttrKind kind, const std::string& text) {
  switch (kind) {
    case AttrKind::Int:
      return static_cast<std::int64_t>(std::stoll(text));
    case AttrKind::Float: {
      std::istringstream in(text);  // unlike stod, not subject to the process's locale
      in.imbue(std::locale::classic());
      double value = 0;
      in >> value;
      return value;
    }
    case AttrKind::Str:
      return text;
    default:
      fail(ErrorCode::Internal, "ops.inc: a list attribute cannot have a default");
  }
}

// "stride:ints groups:int=1" -> two AttrInfos
std::vector<AttrInfo> parse_attrs(const char* row) {
  std::vector<AttrInfo> attrs;
  std::istringstream words(row);
  for (std::string word; words >> word;) {
    const std::size_t colon = word.find(':'), equals = word.find('=');
    AttrInfo attr;
    attr.name = word.substr(0, colon);
    attr.has_default = equals != std::string::npos;
    attr.kind = parse_kind(word.substr(colon + 1, attr.has_default ? equals - colon - 1 : equals));
    if (attr.has_default) attr.default_value = parse_default(attr.kind, word.substr(equals + 1));
    attrs.push_back(std::move(attr));
  }
  return attrs;
}

const std::array<OpInfo, kOpCount>& table() {
  static const std::array<OpInfo, kOpCount> rows = {{
#define SN_OP(name, min_in, max_in, attrs) OpInfo{#name, min_in, max_in, parse_attrs(attrs)},
#include "graph/ops.inc"
#undef SN_OP
  }};
  return rows;
}

}  // namespace

const char* attr_kind_name(AttrKind kind) {
  return kKindNames[static_cast<int>(kind)];
}

const AttrInfo* OpInfo::find(const std::string& attr) const {
  for (const AttrInfo& a : attrs)
    if (a.name == attr) return &a;
  return nullptr;
}

bool is_op(Op op) {
  return static_cast<int>(op) >= 0 && static_cast<int>(op) < kOpCount;
}

const OpInfo& op_info(Op op) {
  if (!is_op(op)) fail(ErrorCode::UnsupportedOp, "no op has the number ", static_cast<int>(op));
  return table()[static_cast<std::size_t>(op)];
}

const char* op_name(Op op) {
  return op_info(op).name;
}

Op op_from_name(const std::string& name) {
  for (int i = 0; i < kOpCount; ++i)
    if (name == table()[static_cast<std::size_t>(i)].name) return static_cast<Op>(i);
  std::string known;
  for (const OpInfo& row : table()) known += std::string(known.empty() ? "" : ", ") + row.name;
  fail(ErrorCode::UnsupportedOp, "no op is named '", name, "'; there are ", known);
}

bool is_act(const std::string& name) {
  return std::any_of(std::begin(kActNames), std::end(kActNames), [&](const char* act) { return name == act; });
}

Attrs complete_attrs(Op op, const std::string& node, Attrs attrs) {
  const OpInfo& info = op_info(op);
  const std::string who = "node '" + node + "' (" + info.name + "): ";
  for (const auto& entry : attrs) {
    if (info.find(entry.first)) continue;
    std::string allowed;
    for (const AttrInfo& a : info.attrs) allowed += (allowed.empty() ? "" : ", ") + a.name;
    fail(ErrorCode::Graph, who, "unknown attribute '", entry.first, "'; ",
         allowed.empty() ? "it takes none" : "it takes " + allowed);
  }
  for (const AttrInfo& want : info.attrs) {
    auto it = attrs.find(want.name);
    if (it == attrs.end()) {
      if (!want.has_default)
        fail(ErrorCode::Graph, who, "attribute '", want.name, "' (", attr_kind_name(want.kind), ") is missing");
      attrs.emplace(want.name, want.default_value);
      continue;
    }
    Attr& value = it->second;
    if (want.kind == AttrKind::Float && std::holds_alternative<std::int64_t>(value)) {
      value = static_cast<double>(std::get<std::int64_t>(value));
    } else if (want.kind == AttrKind::Floats && std::holds_alternative<std::vector<std::int64_t>>(value)) {
      const auto& whole = std::get<std::vector<std::int64_t>>(value);
      value = std::vector<double>(whole.begin(), whole.end());
    }
    if (value.index() != static_cast<std::size_t>(want.kind))
      fail(ErrorCode::Graph, who, "attribute '", want.name, "' must be ", attr_kind_name(want.kind), ", got ",
           kKindNames[value.index()]);
  }
  return attrs;
}

std::string label(const Node& node) {
  return "node '" + node.name + "' (" + (is_op(node.op) ? op_name(node.op) : "unknown op") + ")";
}

}  // namespace sn
