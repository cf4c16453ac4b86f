// SHA-256 (FIPS 180-4), for the digest of a .snet file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace sn {

class Sha256 {
 public:
  // With the CPU's own instructions where it has them, unless `allow_extension` is false (to test that it does not
  // matter).
  explicit Sha256(bool allow_extension = true);
  void update(const void* bytes, std::size_t n);
  std::string hex();  // 64 lower-case digits; ends the computation

 private:
  void (*blocks_)(std::uint32_t* state, const unsigned char* p, std::size_t count);
  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> buffer_{};
  std::size_t filled_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace sn
