// How one constant is stored: which of its elements, and where they stand.
//
// An element whose bits are all zero is not stored; every other one is, -0.0 and denormals among them, so decoding
// gives back the same bits. Positions count through the whole array in row-major order. Encodings:
//   dense    every element
//   zeros    nothing: every element is +0
//   bitmap   values + one bit an element, least significant first; the bits past the last element are 0
//   gaps8    values + one byte a value: how many zeros precede it since the last value. 255 stands for 255 zeros and
//            no value; the next byte goes on from there.
//   gaps16   the same in 16-bit units, with 65535 in place of 255
// For random zeros bitmap is the smallest up to 87.5 % of them, gaps8 from there to 99.7 %, gaps16 beyond.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "graph/sparse_floats.h"

namespace sn {

enum class Encoding { dense, zeros, bitmap, gaps8, gaps16 };
constexpr int kEncodings = 5;
const char* encoding_name(Encoding encoding);

struct Encoded {
  Encoding encoding = Encoding::dense;
  std::string values, index;  // values is empty for a dense fp32 constant: it is the array itself
};

// The cheapest encoding of n fp32 elements, or of their fp16 roundings. Throws InvalidArgument naming `name` if an
// element is not finite or overflows fp16.
Encoded encode(const float* data, std::size_t n, bool half, const std::string& name);

// The parts of an encoded constant, as they lie in a file: not aligned, not trusted.
struct EncodedView {
  Encoding encoding;
  bool half;
  const char* values;
  std::size_t count;  // stored values
  const char* index;
  std::size_t index_bytes;
};

// Fills out[0, n), which the caller has set to zero. Checks everything, throws FileFormat naming `name`.
void decode(const EncodedView& in, float* out, std::size_t n, const std::string& name);
// The same n elements without a dense copy in between.
std::shared_ptr<const SparseFloats> decode_sparse(const EncodedView& in, std::int64_t n, const std::string& name);
// Throws FileFormat unless every value is finite.
void check_finite(const EncodedView& in, const std::string& name);

}  // namespace sn
