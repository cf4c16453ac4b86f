// A whole file in memory, given back to the system piece by piece.
#pragma once

#include <cstddef>
#include <memory>

namespace sn {

class FileBytes {
 public:
  explicit FileBytes(std::size_t size);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  char* data() { return data_; }
  std::size_t size() const { return size_; }
  // Nobody will read [begin, begin + n) again: its whole pages go back to the system.
  void release(const void* begin, std::size_t n);

 private:
  char* data_;
  std::size_t size_;
};

}  // namespace sn
