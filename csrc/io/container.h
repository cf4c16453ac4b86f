// The safetensors container of a .snet file, checked: magic, version, digest, and tensors that lie where they say.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "io/json.h"
#include "io/snet.h"

namespace sn {

struct Tensor {
  std::string key, dtype;
  Shape shape;
  const char* data = nullptr;  // into the caller's bytes; not aligned if they are not
  std::size_t count = 0, bytes = 0;
  bool used = false;
};

class Container {
 public:
  // Points into `bytes`. Throws FileFormat.
  Container(const char* bytes, std::size_t n, const Limits& limits);

  const std::string& graph_json() const { return graph_json_; }
  const std::string& digest() const { return digest_; }
  // The tensor, of one of these dtypes, asked for once; otherwise `json` says where it was asked for.
  const Tensor& take(const JsonReader& json, const std::string& key, const char* dtypes);
  void check_all_taken() const;

 private:
  void read_header(std::string_view header);
  void read_tensor(JsonReader& json, const std::string& key);

  const Limits& limits_;
  const char* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::uint64_t end_ = 0;  // of the last tensor read
  std::string digest_, graph_json_;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::size_t> by_key_;
};

}  // namespace sn
