#include "io/bytes.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <new>

namespace sn {

// Pages of our own, not a mapping of the file, which could change between a check and the use of what was checked.
FileBytes::FileBytes(std::size_t size) : size_(std::max<std::size_t>(size, 1)) {
  void* p = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<char*>(p);
#if defined(MADV_HUGEPAGE)  // faults of small pages took longer than reading: 5 of the 131 ms that ResNet-50 loads in
  ::madvise(p, size_, MADV_HUGEPAGE);
#endif
}

FileBytes::~FileBytes() {
  ::munmap(data_, size_);
}

void FileBytes::release(const void* begin, std::size_t n) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto at = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t first = (at + page - 1) / page * page, last = (at + n) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace sn
