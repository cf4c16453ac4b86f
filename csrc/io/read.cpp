#include <cstdlib>
#include <map>
#include <memory>
#include <new>

#include "base/error.h"
#include "graph/shape.h"
#include "io/bytes.h"
#include "io/container.h"
#include "io/json.h"
#include "io/layout.h"
#include "io/snet.h"

namespace sn {

namespace {

class SnetReader {
 public:
  // `owner` of the bytes, if constants may stay in them; else they are copied.
  SnetReader(const char* bytes, std::size_t n, const Limits& limits, std::shared_ptr<FileBytes> owner)
      : limits_(limits), owner_(std::move(owner)), tensors_(bytes, n, limits) {
    JsonReader json(tensors_.graph_json(), "graph");
    read_graph(json);
    tensors_.check_all_taken();
    graph.verify();
  }

  Graph graph;
  const std::string& digest() const { return tensors_.digest(); }

 private:
  void read_graph(JsonReader& json) {
    // Later sections refer to names of earlier ones, so the order of the keys is part of the format.
    const char* const order[] = {"fixed_batch", "inputs", "constants", "nodes", "outputs"};
    std::size_t next = 0;
    json.object([&](const std::string& key) {
      if (next == 5 || key != order[next]) json.error("unexpected key '" + key + "'");
      switch (next++) {
        case 0:
          graph.fixed_batch = json.integer(0, INT64_MAX);
          break;
        case 1:
          json.array([&] { read_input(json); });
          break;
        case 2:
          json.array([&] { read_constant(json); });
          break;
        case 3:
          json.array([&] { read_node(json); });
          break;
        case 4:
          json.array([&] { graph.outputs.push_back(read_value(json)); });
          break;
      }
    });
    if (next != 5) json.error(std::string("missing key '") + order[next] + "'");
    json.end();
  }

  // Appends a value; Graph's own add_* look names up linearly, which 10^5 nodes would make quadratic.
  ValueId add_value(JsonReader& json, const std::string& name, Shape shape, std::shared_ptr<const float> data) {
    if (static_cast<std::int64_t>(graph.values.size()) >= limits_.nodes + limits_.constants)
      json.error("too many values");
    const auto id = static_cast<ValueId>(graph.values.size());
    if (!by_name_.emplace(name, id).second) json.error("there is already a value named '" + name + "'");
    graph.values.push_back({name, std::move(shape), std::move(data)});
    if (graph.values.back().size() > limits_.elements) {
      json.error("'" + name + "' " + to_string(graph.values.back().shape) + " has more elements than the limit of " +
                 std::to_string(limits_.elements));
    }
    return id;
  }

  ValueId read_value(JsonReader& json) {
    const std::string name = json.string(kMaxName);
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) json.error("no value named '" + name + "' before this point");
    return found->second;
  }

  void read_input(JsonReader& json) {
    std::string name;
    Shape shape;
    json.record({"name", "shape"}, [&](std::size_t member) {
      switch (member) {
        case 0:
          name = json.string(kMaxName);
          break;
        case 1:
          shape = json.integers(kBatch, INT64_MAX, static_cast<std::size_t>(limits_.rank));
          break;
      }
    });
    check_activation_shape("input '" + name + "'", shape);
    graph.inputs.push_back(add_value(json, name, std::move(shape), nullptr));
  }

  void read_constant(JsonReader& json) {
    if (constants_ >= limits_.constants) json.error("more than " + std::to_string(limits_.constants) + " constants");
    std::string name, encoding;
    Shape shape;
    json.record({"name", "shape", "encoding"}, [&](std::size_t member) {
      switch (member) {
        case 0:
          name = json.string(kMaxName);
          break;
        case 1:
          shape = json.integers(1, INT64_MAX, static_cast<std::size_t>(limits_.rank));
          break;
        case 2:
          encoding = json.string(16);
          break;
      }
    });
    check_constant_shape("constant '" + name + "'", shape);
    const Value probe{name, shape, nullptr};
    const std::int64_t n = probe.size();
    if (n > limits_.elements - elements_)
      json.error("the constants have more elements than the limit of " + std::to_string(limits_.elements));
    elements_ += n;
    const EncodedView view =
        read_encoding(json, tensor_key(name, static_cast<std::size_t>(constants_++)), encoding, shape, n);
    const ValueId id = add_value(json, name, std::move(shape), nullptr);
    take_numbers(view, graph.values[static_cast<std::size_t>(id)]);
  }

  // In the form it has in the file, dense or sparse: what the file holds of a constant is not needed beside it.
  void take_numbers(const EncodedView& view, Value& constant) {
    const std::int64_t n = constant.size();
    const std::size_t width = view.half ? 2 : 4, value_bytes = view.count * width;
    const auto in_place = [&] {
      return view.encoding == Encoding::dense && !view.half && value_bytes >= kWorthKeeping;
    };
    if (owner_ && in_place()) {
      check_finite(view, constant.name);
      // No use of the owner's lifetime alone: the pages go when the constant does.
      constant.data = std::shared_ptr<const float>(
          reinterpret_cast<const float*>(view.values),
          [owner = owner_, value_bytes](const float* p) { owner->release(p, value_bytes); });
      return;
    }
    if (view.encoding != Encoding::dense && n >= SparseFloats::kSmallest) {
      constant.sparse = decode_sparse(view, n, constant.name);
    } else {
      // calloc: pages of zeros that nobody writes cost nothing.
      float* data = static_cast<float*>(std::calloc(static_cast<std::size_t>(n), sizeof(float)));
      if (!data) throw std::bad_alloc();
      constant.data = std::shared_ptr<const float>(data, [](const float* p) { std::free(const_cast<float*>(p)); });
      decode(view, data, static_cast<std::size_t>(n), constant.name);
    }
    if (!owner_) return;
    owner_->release(view.values, value_bytes);
    owner_->release(view.index, view.index_bytes);
  }

  EncodedView read_encoding(JsonReader& json, const std::string& key, const std::string& encoding, const Shape& shape,
                            std::int64_t n) {
    EncodedView view{};
    int e = 0;
    while (e < kEncodings && encoding != encoding_name(static_cast<Encoding>(e))) ++e;
    if (e == kEncodings) json.error("constant '" + key + "': unknown encoding '" + encoding + "'");
    view.encoding = static_cast<Encoding>(e);
    if (view.encoding == Encoding::zeros) return view;
    const bool dense = view.encoding == Encoding::dense;
    const Tensor& values = tensors_.take(json, dense ? key : values_key(key), "F32 F16");
    if (dense ? values.shape != shape : values.shape.size() != 1) {
      json.error("tensor '" + values.key + "' has shape " + to_string(values.shape) + ", expected " +
                 (dense ? to_string(shape) : "one axis"));
    }
    view.half = values.dtype == "F16";
    view.values = values.data, view.count = values.count;
    if (dense) return view;
    const Tensor& index =
        tensors_.take(json, index_key(key, view.encoding), view.encoding == Encoding::gaps16 ? "U16" : "U8");
    const std::size_t bitmap = (static_cast<std::size_t>(n) + 7) / 8;
    if (index.shape.size() != 1 || (view.encoding == Encoding::bitmap && index.count != bitmap)) {
      json.error("tensor '" + index.key + "' has shape " + to_string(index.shape) + ", which does not fit " +
                 std::to_string(n) + " elements");
    }
    view.index = index.data, view.index_bytes = index.bytes;
    return view;
  }

  Attr read_attr(JsonReader& json, AttrKind kind) {
    switch (kind) {
      case AttrKind::Int:
        return json.integer(INT64_MIN, INT64_MAX);
      case AttrKind::Float:
        return json.number();
      case AttrKind::Ints:
        return json.integers(INT64_MIN, INT64_MAX, kMaxList);
      case AttrKind::Floats: {
        std::vector<double> out;
        json.array([&] {
          if (out.size() == kMaxList) json.error("a list that is too long");
          out.push_back(json.number());
        });
        return out;
      }
      case AttrKind::Str:
        return json.string(kMaxName);
    }
    fail(ErrorCode::Internal, "an attribute of no kind");
  }

  void read_node(JsonReader& json) {
    if (static_cast<std::int64_t>(graph.nodes.size()) >= limits_.nodes)
      json.error("more than " + std::to_string(limits_.nodes) + " nodes");
    Node node;
    std::string output;
    const OpInfo* info = nullptr;
    json.record({"op", "name", "output", "inputs", "attrs"}, [&](std::size_t member) {
      switch (member) {
        case 0:
          node.op = op_from_name(json.string(64));
          info = &op_info(node.op);
          break;
        case 1:
          node.name = json.string(kMaxName);
          break;
        case 2:
          output = json.string(kMaxName);
          break;
        case 3:
          json.array([&] {
            if (node.inputs.size() == kMaxList) json.error("a list that is too long");
            node.inputs.push_back(json.null() ? kNoValue : read_value(json));
          });
          break;
        case 4:
          if (!info) json.error("attrs before op");
          json.object([&](const std::string& name) {
            const AttrInfo* attr = info->find(name);
            if (!attr) json.error(label(node) + " has no attribute '" + name + "'");
            node.attrs.emplace(name, read_attr(json, attr->kind));
          });
          break;
      }
    });
    node.attrs = complete_attrs(node.op, node.name, std::move(node.attrs));
    node.output = add_value(json, output, infer_shape(graph, node), nullptr);
    graph.nodes.push_back(std::move(node));
  }

  static constexpr std::size_t kWorthKeeping = 1 << 16;  // bytes of a constant that stays in the file's pages
  static constexpr std::size_t kMaxList = 1024;          // inputs of a Concat; no attribute comes near it

  const Limits& limits_;
  const std::shared_ptr<FileBytes> owner_;
  Container tensors_;
  std::map<std::string, ValueId> by_name_;
  std::int64_t constants_ = 0, elements_ = 0;
};

}  // namespace

Graph parse_snet(const void* bytes, std::size_t n, const Limits& limits, std::string* digest) {
  SnetReader reader(static_cast<const char*>(bytes), n, limits, nullptr);
  if (digest) *digest = reader.digest();
  return std::move(reader.graph);
}

Graph parse_snet(const std::shared_ptr<FileBytes>& bytes, std::size_t size, const Limits& limits, std::string* digest) {
  SnetReader reader(bytes->data(), size, limits, bytes);
  if (digest) *digest = reader.digest();
  return std::move(reader.graph);
}

}  // namespace sn
