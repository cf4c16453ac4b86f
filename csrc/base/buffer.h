// Cache-line aligned, uninitialised memory with one owner.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

namespace sn {

constexpr std::size_t kAlign = 64;  // one cache line, and one AVX-512 vector

inline std::size_t align_up(std::size_t bytes, std::size_t to = kAlign) {
  return (bytes + to - 1) / to * to;
}

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t bytes) : size_(bytes) {
    if (bytes == 0) return;
    data_ = std::aligned_alloc(kAlign, align_up(bytes));
    if (!data_) throw std::bad_alloc();
  }
  AlignedBuffer(AlignedBuffer&& o) noexcept { swap(o); }
  AlignedBuffer& operator=(AlignedBuffer&& o) noexcept {
    swap(o);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { std::free(data_); }

  template <class T = void>
  T* as() noexcept {
    return static_cast<T*>(data_);
  }
  template <class T = void>
  const T* as() const noexcept {
    return static_cast<const T*>(data_);
  }
  std::size_t size() const noexcept { return size_; }

 private:
  void swap(AlignedBuffer& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
  }
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sn
