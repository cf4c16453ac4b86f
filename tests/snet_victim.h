// A graph that uses all of the .snet format, and files taken apart and signed again: shared by the format's C++ tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "io/layout.h"
#include "io/sha256.h"

namespace sn {

inline std::vector<float> weights(std::size_t n, double density, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  std::vector<float> w(n);
  for (float& x : w) x = uniform(random) < density ? normal(random) : 0.0f;
  w[0] = -0.0f;
  w[n / 2] = std::numeric_limits<float>::denorm_min();
  w[n - 1] = -1e-41f;
  return w;
}

// Every encoding, every attribute kind, names that need care.
inline Graph victim() {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, 3, 8, 8});
  const ValueId conv = g.add_constant("conv.weight", {8, 3, 3, 3}, weights(216, 0.08, 1));                    // gaps8
  const ValueId bias = g.add_constant("conv.bias", {8}, weights(8, 1, 2));                                    // dense
  const ValueId half = g.add_constant("half \"full\" \\ \n \xC3\xA9 #", {12, 8, 1, 1}, weights(96, 0.5, 3));  // bitmap
  const ValueId none = g.add_constant("__metadata__", {12}, std::vector<float>(12));                          // zeros
  const ValueId rare = g.add_constant("rare", {4, 3072}, weights(12288, 0, 4));                               // gaps16
  ValueId y = g.add_node(Op::Conv, {x, conv, bias},
                         {{"stride", std::vector<std::int64_t>{1, 1}},
                          {"padding", std::vector<std::int64_t>{1, 1, 1, 1}},
                          {"dilation", std::vector<std::int64_t>{1, 1}},
                          {"act", std::string("clip")},
                          {"act_b", 6.0}},
                         "conv");
  y = g.add_node(Op::Conv, {y, half, none},
                 {{"stride", std::vector<std::int64_t>{1, 1}},
                  {"padding", std::vector<std::int64_t>{0, 0, 0, 0}},
                  {"dilation", std::vector<std::int64_t>{1, 1}}});
  y = g.add_node(Op::Resize, {y},
                 {{"output", std::vector<std::int64_t>{16, 16}},
                  {"scale", std::vector<double>{0.5, 1.0 / 3}},
                  {"mode", std::string("nearest")}});
  y = g.add_node(Op::Reshape, {y}, {{"shape", std::vector<std::int64_t>{0, -1}}});
  y = g.add_node(Op::Linear, {y, rare, kNoValue}, {}, "fc");
  const ValueId z = g.add_node(Op::Softmax, {y}, {{"axis", std::int64_t{1}}});
  y = g.add_node(Op::Concat, {y, z}, {{"axis", std::int64_t{1}}}, "both");
  g.values[static_cast<std::size_t>(y)].name = "logits";  // a value need not be named after its node
  g.set_output(y);
  g.set_output(z);
  g.verify();
  return g;
}

inline bool same_bits(const Graph& a, const Graph& b) {
  if (a.values.size() != b.values.size() || a.nodes.size() != b.nodes.size()) return false;
  for (const Value& v : a.values) {
    const ValueId id = b.find(v.name);
    if (id == kNoValue) return false;
    const Value& w = b.values[static_cast<std::size_t>(id)];
    if (v.shape != w.shape || v.is_constant() != w.is_constant()) return false;
    if (v.is_constant() && std::memcmp(v.dense().get(), w.dense().get(), static_cast<std::size_t>(v.size()) * 4) != 0)
      return false;
  }
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    const Node &m = a.nodes[i], &n = b.nodes[i];
    if (m.op != n.op || m.name != n.name || m.attrs != n.attrs || m.inputs.size() != n.inputs.size()) return false;
  }
  return true;
}

inline std::size_t header_length(const std::string& file) {
  std::size_t n = 0;
  for (int i = 7; i >= 0; --i) n = n << 8 | static_cast<unsigned char>(file[static_cast<std::size_t>(i)]);
  return n;
}
inline std::string header_of(const std::string& file) {
  return file.substr(8, header_length(file));
}
inline std::string data_of(const std::string& file) {
  return file.substr(8 + header_length(file));
}

inline void sign(std::string& file) {
  const std::size_t key = file.find(kDigestKey);
  if (key == std::string::npos || key + std::strlen(kDigestKey) + 64 > file.size()) return;
  const std::size_t at = key + std::strlen(kDigestKey);
  file.replace(at, 64, 64, '0');
  Sha256 sha;
  sha.update(file.data(), file.size());
  file.replace(at, 64, sha.hex());
}

inline std::string build(std::string header, const std::string& data) {
  while ((8 + header.size()) % 64 != 0) header += ' ';
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(std::uint64_t{header.size()} >> 8 * i);
  file += header + data;
  sign(file);
  return file;
}

// A graph that was let in must not break the engine either. Large ones are left out for time's sake alone.

}  // namespace sn
