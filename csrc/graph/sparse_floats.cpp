#include "graph/sparse_floats.h"

#include <cstring>
#include <new>
#include <utility>

namespace sn {
namespace {

std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

}  // namespace

SparseFloats::SparseFloats(std::int64_t n, std::vector<float> values) : size_(n), values_(std::move(values)) {
  bits_.reset(static_cast<std::uint64_t*>(std::calloc(static_cast<std::size_t>(words(n)) + 1, sizeof(std::uint64_t))));
  if (!bits_) throw std::bad_alloc();
}

void SparseFloats::copy_marks(const SparseFloats& from) {
  std::memcpy(bits_.get(), from.bits_.get(), static_cast<std::size_t>(words(size_)) * sizeof(std::uint64_t));
  before_ = from.before_;
}

void SparseFloats::finish() {
  before_.reserve(static_cast<std::size_t>(words(size_) / kBlockWords + 1));
  std::uint64_t count = 0;
  for (std::int64_t w = 0; w < words(size_); ++w) {
    if (w % kBlockWords == 0) before_.push_back(count);
    if (bits_[w] != 0) count += static_cast<std::uint64_t>(__builtin_popcountll(bits_[w]));
  }
}

std::shared_ptr<const SparseFloats> SparseFloats::compress(const float* data, std::int64_t n) {
  if (n < kSmallest) return nullptr;
  std::int64_t stored = 0;
  for (std::int64_t i = 0; i < n; ++i) stored += bits_of(data[i]) != 0;
  if (stored > n * 11 / 16) return nullptr;
  auto out = std::make_shared<SparseFloats>(n, std::vector<float>(static_cast<std::size_t>(stored)));
  float* value = out->values_.data();
  // A word at a time, so that runs of zeros and ones alike go without a mispredicted branch an element.
  for (std::int64_t begin = 0; begin < n; begin += 64) {
    const std::int64_t end = begin + 64 < n ? begin + 64 : n;
    std::uint64_t word = 0;
    for (std::int64_t i = begin; i < end; ++i) word |= std::uint64_t{bits_of(data[i]) != 0} << (i - begin);
    out->bits_[begin / 64] = word;
    for (; word != 0; word &= word - 1) *value++ = data[begin + __builtin_ctzll(word)];
  }
  out->finish();
  return out;
}

std::size_t SparseFloats::bytes() const {
  return static_cast<std::size_t>(words(size_)) * sizeof(std::uint64_t) + values_.size() * sizeof(float) +
         before_.size() * sizeof(std::uint64_t);
}

std::size_t SparseFloats::rank(std::int64_t i) const {
  const std::int64_t word = i >> 6;
  std::uint64_t count = before_[static_cast<std::size_t>(word / kBlockWords)];
  for (std::int64_t w = word / kBlockWords * kBlockWords; w < word; ++w)
    count += static_cast<std::uint64_t>(__builtin_popcountll(bits_[w]));
  const std::uint64_t below = (std::uint64_t{1} << (i & 63)) - 1;
  return static_cast<std::size_t>(count + static_cast<std::uint64_t>(__builtin_popcountll(bits_[word] & below)));
}

bool SparseFloats::any_nonzero(std::int64_t begin, std::int64_t end) const {
  for (std::int64_t i = begin; i < end;) {
    const std::uint64_t rest = bits_[i >> 6] >> (i & 63);
    if (rest == 0) {
      i = (i | 63) + 1;
      continue;
    }
    i += __builtin_ctzll(rest);
    if (i >= end) return false;
    if (values_[rank(i)] != 0) return true;
    ++i;
  }
  return false;
}

std::int64_t SparseFloats::count_nonzero() const {
  std::int64_t count = 0;
  for (const float value : values_) count += value != 0;
  return count;
}

void SparseFloats::expand(float* out) const {
  std::memset(out, 0, static_cast<std::size_t>(size_) * sizeof(float));
  for_each([&](std::int64_t i, float value) { out[i] = value; });
}

}  // namespace sn
