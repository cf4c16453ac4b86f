#include <array>
#include <functional>
#include <vector>

#include "base/error.h"
#include "io/json.h"
#include "io/layout.h"
#include "io/sha256.h"
#include "io/snet.h"
#include "io/write.h"

namespace sn {

namespace {

struct Tensor {
  std::string key;
  const char* dtype;
  Shape shape;
  const char* data;
  std::size_t bytes;
};

void put_string(std::string& out, const std::string& text) {
  if (text.size() > kMaxName) {
    fail(ErrorCode::InvalidArgument, "a name is ", text.size(), " bytes long, longer than the ", kMaxName,
         " that a .snet file may hold");
  }
  if (!append_json_string(out, text)) {
    fail(ErrorCode::InvalidArgument, "a name is not UTF-8 or holds a NUL; rename it before saving: '", text, "'");
  }
}

template <class Items, class Put>
void put_list(std::string& out, const Items& items, Put&& put) {
  out += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += ',';
    first = false;
    put(item);
  }
  out += ']';
}

void put_integers(std::string& out, const std::vector<std::int64_t>& items) {
  put_list(out, items, [&](std::int64_t i) { out += std::to_string(i); });
}

struct AttrWriter {
  std::string& out;
  void operator()(std::int64_t i) const { out += std::to_string(i); }
  void operator()(double f) const { append_json_number(out, f); }
  void operator()(const std::vector<std::int64_t>& v) const { put_integers(out, v); }
  void operator()(const std::vector<double>& v) const {
    put_list(out, v, [&](double f) { append_json_number(out, f); });
  }
  void operator()(const std::string& s) const { put_string(out, s); }
};

void put_node(std::string& out, const Graph& graph, const Node& node) {
  const auto put_value = [&](ValueId v) {
    if (v == kNoValue) {
      out += "null";
    } else {
      put_string(out, graph.values[v].name);
    }
  };
  out += std::string("{\"op\":\"") + op_name(node.op) + "\",\"name\":";
  put_string(out, node.name);
  out += ",\"output\":";
  put_value(node.output);
  out += ",\"inputs\":";
  put_list(out, node.inputs, put_value);
  out += ",\"attrs\":{";
  bool first = true;
  for (const auto& [name, value] : node.attrs) {
    if (!first) out += ',';
    first = false;
    put_string(out, name);
    out += ':';
    std::visit(AttrWriter{out}, value);
  }
  out += "}}";
}

// Encodes the constants into `tensors` and `storage`, which must outlive them, and returns the graph's JSON.
std::string put_graph(const Graph& graph, bool fp16, std::vector<Tensor>& tensors, std::vector<Encoded>& storage) {
  std::string out = "{\"fixed_batch\":" + std::to_string(graph.fixed_batch) + ",\"inputs\":";
  put_list(out, graph.inputs, [&](ValueId v) {
    out += "{\"name\":";
    put_string(out, graph.values[v].name);
    out += ",\"shape\":";
    put_integers(out, graph.values[v].shape);
    out += '}';
  });
  std::vector<const Value*> constants;
  for (const Value& value : graph.values) {
    if (value.is_constant()) constants.push_back(&value);
  }
  storage.reserve(constants.size());  // tensors point into it
  out += ",\"constants\":";
  put_list(out, constants, [&](const Value* value) {
    const std::string key = tensor_key(value->name, storage.size());
    const std::size_t n = static_cast<std::size_t>(value->size());
    const bool half = fp16 && value->shape.size() >= 2;
    const char* dtype = half ? "F16" : "F32";
    const std::shared_ptr<const float> numbers = value->dense();
    storage.push_back(encode(numbers.get(), n, half, value->name));
    Encoded& e = storage.back();
    if (e.encoding == Encoding::dense) {
      if (!half && value->sparse) e.values.assign(reinterpret_cast<const char*>(numbers.get()), n * sizeof(float));
      const char* data = e.values.empty() ? reinterpret_cast<const char*>(numbers.get()) : e.values.data();
      tensors.push_back({key, dtype, value->shape, data, n * (half ? 2 : 4)});
    } else if (e.encoding != Encoding::zeros) {
      const auto count = static_cast<std::int64_t>(e.values.size() / (half ? 2 : 4));
      tensors.push_back({values_key(key), dtype, {count}, e.values.data(), e.values.size()});
      const bool wide = e.encoding == Encoding::gaps16;
      const auto units = static_cast<std::int64_t>(e.index.size() / (wide ? 2 : 1));
      tensors.push_back({index_key(key, e.encoding), wide ? "U16" : "U8", {units}, e.index.data(), e.index.size()});
    }
    out += "{\"name\":";
    put_string(out, value->name);
    out += ",\"shape\":";
    put_integers(out, value->shape);
    out += std::string(",\"encoding\":\"") + encoding_name(e.encoding) + "\"}";
  });
  out += ",\"nodes\":";
  put_list(out, graph.nodes, [&](const Node& node) { put_node(out, graph, node); });
  out += ",\"outputs\":";
  put_list(out, graph.outputs, [&](ValueId v) { put_string(out, graph.values[v].name); });
  return out + '}';
}

void put_tensor(std::string& out, const Tensor& tensor, std::size_t begin) {
  out += ',';
  if (!append_json_string(out, tensor.key)) fail(ErrorCode::Internal, "a tensor key that is not UTF-8");
  out += std::string(":{\"dtype\":\"") + tensor.dtype + "\",\"shape\":";
  put_integers(out, tensor.shape);
  out += ",\"data_offsets\":[" + std::to_string(begin) + ',' + std::to_string(begin + tensor.bytes) + "]}";
}

}  // namespace

void write_snet(const Graph& graph, bool fp16, const std::function<void(const char*, std::size_t)>& sink) {
  graph.verify();
  std::vector<Tensor> tensors;
  std::vector<Encoded> storage;
  const std::string json = put_graph(graph, fp16, tensors, storage);

  // safetensors allows no holes between tensors, so what aligns the next one is a tensor too.
  static constexpr std::array<char, kTensorAlign> kZeros{};
  std::vector<Tensor> parts;
  for (const Tensor& tensor : tensors) {
    if (!parts.empty() && parts.back().bytes % kTensorAlign != 0) {
      const std::size_t gap = kTensorAlign - parts.back().bytes % kTensorAlign;
      parts.push_back(
          {kPadKey + std::to_string(parts.size()), "U8", {static_cast<std::int64_t>(gap)}, kZeros.data(), gap});
    }
    parts.push_back(tensor);
  }

  std::string header = kMagic + std::to_string(kSnetVersion) + kDigestKey;
  const std::size_t digest_at = 8 + header.size();
  header += std::string(kDigestDigits, '0') + "\",\"graph\":";
  if (!append_json_string(header, json)) fail(ErrorCode::Internal, "the graph's JSON is not UTF-8");
  header += '}';
  std::size_t offset = 0;
  for (const Tensor& part : parts) {
    put_tensor(header, part, offset);
    offset += part.bytes;
  }
  header += '}';
  while ((8 + header.size()) % kTensorAlign != 0) header += ' ';

  std::string head;
  for (int i = 0; i < 8; ++i) head += static_cast<char>(std::uint64_t{header.size()} >> 8 * i);
  head += header;
  Sha256 digest;
  digest.update(head.data(), head.size());
  for (const Tensor& part : parts) digest.update(part.data, part.bytes);
  head.replace(digest_at, kDigestDigits, digest.hex());

  sink(head.data(), head.size());
  for (const Tensor& part : parts) sink(part.data, part.bytes);
}

std::string serialize(const Graph& graph, bool fp16) {
  std::string out;
  write_snet(graph, fp16, [&](const char* data, std::size_t n) { out.append(data, n); });
  return out;
}

}  // namespace sn
