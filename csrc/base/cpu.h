// Which instruction sets this machine runs, as a mask that callers may narrow or inject.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sn {

enum class Isa : int { scalar = 0, avx2 = 1, avx512 = 2, neon = 3 };
constexpr int kIsaCount = 4;

using IsaMask = std::uint32_t;
constexpr IsaMask isa_bit(Isa isa) {
  return IsaMask{1} << static_cast<int>(isa);
}

const char* isa_name(Isa isa);

// ISAs that this binary holds kernels for AND this CPU (and its OS) can run. Always holds scalar.
IsaMask available_isas();

// The ISA to compile for: `requested` if not empty, else SPARSENET_FORCE_ISA if set, else the best one
// available. Throws InvalidArgument when the name is unknown or the machine cannot run it.
Isa select_isa(const std::string& requested = {});

// Data caches of one core; 32 KiB and 512 KiB where the system does not say (most ARM kernels).
std::size_t l1_bytes();
std::size_t l2_bytes();

// Passes that a vector of so many floats makes through the units that multiply and load: 2 of 512 bits on Zen 4, whose
// units are 256 bits wide, else 1.
int vector_passes(int lanes);
// Whether those of this ISA make two, so that AVX2's kernels serve as well where they leave fewer lanes empty.
bool runs_in_halves(Isa isa);

std::vector<std::string> isa_names(IsaMask mask);

}  // namespace sn
