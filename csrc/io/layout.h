// What the reader and the writer must agree on, beside the encodings of codec.h.
#pragma once

#include <cstddef>
#include <string>

#include "io/codec.h"

namespace sn {

// A header begins with these bytes, the version's digits, kDigestKey, 64 digits and a quote, whatever the version: a
// reader can refuse a version, and check the digest, before it parses anything.
constexpr char kMagic[] = "{\"__metadata__\":{\"format\":\"sparsenet\",\"version\":\"";
constexpr char kDigestKey[] = "\",\"sha256\":\"";
constexpr std::size_t kDigestDigits = 64;

constexpr std::size_t kTensorAlign = 64;  // a cache line, so that tensors can be used where they are mapped
constexpr char kPadKey[] = "#pad";        // + a number: fills the gap before the next multiple of kTensorAlign
constexpr std::size_t kMaxName = 4096;    // bytes of a name

// The tensor that holds constant number `index`, or the stem of its parts' keys. Only keys that do not come from a
// name begin with '#' or have one before the part's name, so keys never collide.
inline std::string tensor_key(const std::string& name, std::size_t index) {
  const bool plain = name.find('#') == std::string::npos && name != "__metadata__";
  return plain ? name : "#" + std::to_string(index);
}
inline std::string values_key(const std::string& key) {
  return key + "#values";
}
inline std::string index_key(const std::string& key, Encoding encoding) {
  return key + "#" + encoding_name(encoding);
}

}  // namespace sn
