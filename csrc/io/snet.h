// The .snet file: a Graph in a safetensors container. docs/format.md has the layout; snet.cpp the reader, write.cpp
// the writer.
//
// What the reader promises for any bytes at all: an Error or a Graph that verifies; no undefined behaviour, no read
// outside the bytes given, no code, path or network access taken from the file; time and memory linear in the file's
// size plus the decompressed size, which Limits caps. Everything is checked before first use and nothing refers to the
// caller's bytes or the file, which may change or vanish once these functions have returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "graph/graph.h"

namespace sn {

constexpr int kSnetVersion = 1;        // written
constexpr int kSnetOldestVersion = 1;  // still read

struct Limits {
  std::uint64_t bytes = std::uint64_t{1} << 32;         // of the file
  std::uint64_t header_bytes = std::uint64_t{1} << 26;  // of its JSON header
  std::int64_t elements = std::int64_t{1} << 30;        // of all constants together, and of any one value per sample
  std::int64_t constants = 100000;
  std::int64_t nodes = 20000;  // ten times the largest CNNs
  std::int64_t rank = 8;
};

// Throws InvalidArgument on weights that are not finite (or overflow fp16) and on names that are not UTF-8. With
// fp16, constants of two axes and more are rounded to nearest even; vectors (biases, norms) stay fp32.
std::string serialize(const Graph& graph, bool fp16 = false);

// Writes a temporary file beside `path`, syncs it and renames it over `path`: a failure leaves the old file as it was
// and no other file behind. Throws what serialize throws, and Io.
void save_snet(const Graph& graph, const std::string& path, bool fp16 = false);

// Throws FileFormat naming the field and the offset, or what Graph::verify throws. `digest` takes the file's SHA-256.
Graph parse_snet(const void* bytes, std::size_t n, const Limits& limits = {}, std::string* digest = nullptr);

// The same, from a regular file. Throws Io with the system's reason.
Graph load_snet(const std::string& path, const Limits& limits = {}, std::string* digest = nullptr);

// From a file that was read: its `size` bytes are kept, page by page, for as long as a constant is the file's own.
class FileBytes;
Graph parse_snet(const std::shared_ptr<FileBytes>& bytes, std::size_t size, const Limits& limits, std::string* digest);

}  // namespace sn
