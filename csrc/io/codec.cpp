#include "io/codec.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/half.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the .snet reader and writer assume a little-endian machine"
#endif

namespace sn {

namespace {

bool is_zero(std::uint16_t half) {
  return half == 0;
}
bool is_zero(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits == 0;
}

// The length in units of the gap stream: a unit a value, and one more for each full run of zeros before it.
template <class Unit, class T>
std::size_t gap_units(const T* data, std::size_t n) {
  constexpr std::size_t kSkip = std::numeric_limits<Unit>::max();
  std::size_t units = 0, run = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (is_zero(data[i])) {
      ++run;
    } else {
      units += 1 + run / kSkip;
      run = 0;
    }
  }
  return units;
}

template <class Unit, class T>
std::string encode_gaps(const T* data, std::size_t n, std::size_t units) {
  constexpr std::size_t kSkip = std::numeric_limits<Unit>::max();
  std::string out;
  out.reserve(units * sizeof(Unit));
  const auto put = [&](std::size_t gap) {
    for (std::size_t b = 0; b < sizeof(Unit); ++b) out += static_cast<char>(gap >> 8 * b);
  };
  std::size_t run = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (is_zero(data[i])) {
      ++run;
      continue;
    }
    for (; run >= kSkip; run -= kSkip) put(kSkip);
    put(run);
    run = 0;
  }
  return out;
}

template <class T>
std::string encode_bitmap(const T* data, std::size_t n) {
  std::string out((n + 7) / 8, '\0');
  for (std::size_t i = 0; i < n; ++i) {
    if (!is_zero(data[i])) out[i / 8] = static_cast<char>(out[i / 8] | 1 << i % 8);
  }
  return out;
}

template <class T>
Encoded encode_elements(const T* data, std::size_t n) {
  std::size_t nnz = 0;
  for (std::size_t i = 0; i < n; ++i) nnz += !is_zero(data[i]);
  Encoded out;
  if (nnz == 0) {
    out.encoding = Encoding::zeros;
    return out;
  }
  const std::size_t units8 = gap_units<std::uint8_t>(data, n), units16 = gap_units<std::uint16_t>(data, n);
  const std::size_t cost[kEncodings] = {n * sizeof(T), ~std::size_t{0}, nnz * sizeof(T) + (n + 7) / 8,
                                        nnz * sizeof(T) + units8, nnz * sizeof(T) + units16 * 2};
  int best = 0;
  for (int e = 1; e < kEncodings; ++e) best = cost[e] < cost[best] ? e : best;
  out.encoding = static_cast<Encoding>(best);
  switch (out.encoding) {
    case Encoding::bitmap:
      out.index = encode_bitmap(data, n);
      break;
    case Encoding::gaps8:
      out.index = encode_gaps<std::uint8_t>(data, n, units8);
      break;
    case Encoding::gaps16:
      out.index = encode_gaps<std::uint16_t>(data, n, units16);
      break;
    case Encoding::dense:
      if (sizeof(T) != sizeof(float)) out.values.assign(reinterpret_cast<const char*>(data), n * sizeof(T));
      return out;
    case Encoding::zeros:
      break;
  }
  out.values.resize(nnz * sizeof(T));
  char* to = &out.values[0];
  for (std::size_t i = 0; i < n; ++i) {
    if (is_zero(data[i])) continue;
    std::memcpy(to, data + i, sizeof(T));
    to += sizeof(T);
  }
  return out;
}

// Calls at(position) for each stored value in order; false if the stream leaves [0, n), ends in a skip, or holds
// another number of values than `count`.
template <class Unit, class At>
bool walk_gaps(const EncodedView& in, std::size_t n, At&& at) {
  constexpr std::size_t kSkip = std::numeric_limits<Unit>::max();
  std::size_t position = 0, found = 0;
  bool after_skip = false;
  for (std::size_t b = 0; b < in.index_bytes; b += sizeof(Unit)) {
    Unit gap;
    std::memcpy(&gap, in.index + b, sizeof(Unit));
    if (gap > n - position) return false;
    position += gap;
    after_skip = gap == kSkip;
    if (after_skip) continue;
    if (position >= n || found == in.count) return false;
    at(position++, found++);
  }
  return found == in.count && !after_skip;
}

template <class At>
bool walk_bitmap(const EncodedView& in, std::size_t n, At&& at) {
  std::size_t found = 0;
  for (std::size_t byte = 0; byte < in.index_bytes; ++byte) {
    for (unsigned bits = static_cast<unsigned char>(in.index[byte]); bits != 0; bits &= bits - 1) {
      const std::size_t position = byte * 8 + static_cast<std::size_t>(__builtin_ctz(bits));
      if (position >= n || found == in.count) return false;
      at(position, found++);
    }
  }
  return found == in.count;
}

}  // namespace

const char* encoding_name(Encoding encoding) {
  constexpr const char* kNames[kEncodings] = {"dense", "zeros", "bitmap", "gaps8", "gaps16"};
  return kNames[static_cast<int>(encoding)];
}

Encoded encode(const float* data, std::size_t n, bool half, const std::string& name) {
  std::vector<std::uint16_t> halves(half ? n : 0);
  for (std::size_t i = 0; i < n; ++i) {
    if (!std::isfinite(data[i])) {
      fail(ErrorCode::InvalidArgument, "constant '", name, "': element ", i, " is ", data[i],
           "; a .snet file holds finite weights only");
    }
    if (!half) continue;
    halves[i] = half_from_float(data[i]);
    if ((halves[i] & 0x7c00) == 0x7c00) {
      fail(ErrorCode::InvalidArgument, "constant '", name, "': element ", i, " is ", data[i],
           ", beyond the largest fp16 number 65504; save without fp16");
    }
  }
  if (half) return encode_elements(halves.data(), n);
  return encode_elements(data, n);
}

namespace {

// An exponent of all ones in any of n values; 32 bits each, or 16.
template <class Bits>
bool all_finite(const char* values, std::size_t n, Bits exponent) {
  Bits found = 0;
  for (std::size_t i = 0; i < n; ++i) {
    Bits bits;
    std::memcpy(&bits, values + i * sizeof bits, sizeof bits);
    found |= static_cast<Bits>((bits & exponent) == exponent);
  }
  return found == 0;
}

void copy_values(const EncodedView& in, float* out) {
  if (!in.half) {
    if (in.count > 0) std::memcpy(out, in.values, in.count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < in.count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, in.values + 2 * i, 2);
    out[i] = float_from_half(bits);
  }
}

// at(position, i) for each stored value i in order.
template <class At>
void walk(const EncodedView& in, std::size_t n, const std::string& name, At&& at) {
  bool fits = true;
  switch (in.encoding) {
    case Encoding::dense:
    case Encoding::zeros:
      break;
    case Encoding::bitmap:
      fits = walk_bitmap(in, n, at);
      break;
    case Encoding::gaps8:
      fits = walk_gaps<std::uint8_t>(in, n, at);
      break;
    case Encoding::gaps16:
      fits = walk_gaps<std::uint16_t>(in, n, at);
      break;
  }
  if (!fits) {
    fail(ErrorCode::FileFormat, "constant '", name, "': its ", encoding_name(in.encoding), " index does not place ",
         in.count, " values in ", n, " elements");
  }
}

}  // namespace

void check_finite(const EncodedView& in, const std::string& name) {
  const bool finite = in.half ? all_finite<std::uint16_t>(in.values, in.count, 0x7c00)
                              : all_finite<std::uint32_t>(in.values, in.count, 0x7f800000);
  if (!finite) fail(ErrorCode::FileFormat, "constant '", name, "' holds a value that is not finite");
}

void decode(const EncodedView& in, float* out, std::size_t n, const std::string& name) {
  check_finite(in, name);
  if (in.encoding == Encoding::dense) return copy_values(in, out);
  std::vector<float> values(in.count);
  copy_values(in, values.data());
  walk(in, n, name, [&](std::size_t position, std::size_t i) { out[position] = values[i]; });
}

std::shared_ptr<const SparseFloats> decode_sparse(const EncodedView& in, std::int64_t n, const std::string& name) {
  check_finite(in, name);
  std::vector<float> values(in.count);
  copy_values(in, values.data());
  auto out = std::make_shared<SparseFloats>(n, std::move(values));
  walk(in, static_cast<std::size_t>(n), name,
       [&](std::size_t position, std::size_t) { out->mark(static_cast<std::int64_t>(position)); });
  out->finish();
  return out;
}

}  // namespace sn
