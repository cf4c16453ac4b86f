// An immutable array of floats with many zeros: which elements are stored, a bit each, and their values in order.
//
// Weights stay in this form from the file to the packing of their layer, so a pruned network is never in memory dense.
// A bitmap rather than the gaps of .snet files: any element is found in constant time, and a kernel of zeros is told
// by its bits alone. It costs 1/32 of the dense array, and 1/128 more for finding elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace sn {

class SparseFloats {
 public:
  // Elements that are +0.0 are left out, every other one is kept bit for bit. Null where this form would save less
  // than a quarter, or nothing worth the trouble.
  static std::shared_ptr<const SparseFloats> compress(const float* data, std::int64_t n);
  static constexpr std::int64_t kSmallest = 1024;  // elements: below, an array is not worth compressing

  // The values in order. Then mark(i) says where each stands, and finish() is called once.
  SparseFloats(std::int64_t n, std::vector<float> values);
  void mark(std::int64_t i) { bits_[i >> 6] |= std::uint64_t{1} << (i & 63); }
  void finish();

  std::int64_t size() const { return size_; }
  const std::vector<float>& values() const { return values_; }
  std::size_t bytes() const;

  float operator[](std::int64_t i) const { return holds(i) ? values_[rank(i)] : 0.0f; }
  bool any_nonzero(std::int64_t begin, std::int64_t end) const;  // -0.0 counts as zero
  std::int64_t count_nonzero() const;
  void expand(float* out) const;  // size() floats

  // f(i, value) for each stored element in order.
  template <class F>
  void for_each(F&& f) const {
    const float* value = values_.data();
    for (std::int64_t w = 0; w < words(size_); ++w) {
      for (std::uint64_t bits = bits_[w]; bits != 0; bits &= bits - 1) f(w * 64 + __builtin_ctzll(bits), *value++);
    }
  }
  // The same elements with the values f(i, value).
  template <class F>
  std::shared_ptr<const SparseFloats> map(F&& f) const {
    std::vector<float> values(values_.size());
    float* value = values.data();
    for_each([&](std::int64_t i, float old) { *value++ = f(i, old); });
    auto out = std::make_shared<SparseFloats>(size_, std::move(values));
    out->copy_marks(*this);
    return out;
  }

 private:
  void copy_marks(const SparseFloats& from);

  static constexpr std::int64_t kBlockWords = 8;  // one cache line of bits for each rank stored
  static std::int64_t words(std::int64_t n) { return (n + 63) / 64; }
  bool holds(std::int64_t i) const { return bits_[i >> 6] >> (i & 63) & 1; }
  std::size_t rank(std::int64_t i) const;  // stored elements before i

  struct Free {
    void operator()(std::uint64_t* p) const { std::free(p); }
  };
  std::int64_t size_;
  std::unique_ptr<std::uint64_t[], Free> bits_;  // from calloc: pages that stay zero cost nothing
  std::vector<float> values_;
  std::vector<std::uint64_t> before_;  // stored elements before each block
};

}  // namespace sn
