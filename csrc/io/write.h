// Between the writer of bytes (write.cpp) and the writer of files (file.cpp).
#pragma once

#include <cstddef>
#include <functional>

#include "graph/graph.h"

namespace sn {

// Hands the bytes of a .snet file to `sink`, in order, without holding more than one compressed copy of them. Throws
// what serialize throws, before the first call.
void write_snet(const Graph& graph, bool fp16, const std::function<void(const char*, std::size_t)>& sink);

}  // namespace sn
