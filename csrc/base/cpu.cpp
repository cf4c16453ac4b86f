#include "base/cpu.h"

#include <unistd.h>

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMD
#define HWCAP_ASIMD (1 << 1)
#endif
#endif

#include "base/error.h"

namespace sn {
namespace {

constexpr const char* kNames[kIsaCount] = {"scalar", "avx2", "avx512", "neon"};

IsaMask compiled_isas() {
  IsaMask mask = isa_bit(Isa::scalar);
#ifdef SPARSENET_HAVE_AVX2
  mask |= isa_bit(Isa::avx2);
#endif
#ifdef SPARSENET_HAVE_AVX512
  mask |= isa_bit(Isa::avx512);
#endif
#ifdef SPARSENET_HAVE_NEON
  mask |= isa_bit(Isa::neon);
#endif
  return mask;
}

#if defined(__x86_64__)
// Every CPU with AVX2 has it; compilers know its name late.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

// What CPU and OS support; the compiler's run time also checks XCR0 for the wide registers.
IsaMask cpu_isas() {
  IsaMask mask = isa_bit(Isa::scalar);
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) mask |= isa_bit(Isa::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
    mask |= isa_bit(Isa::avx512);
  }
#elif defined(__aarch64__)
  if (getauxval(AT_HWCAP) & HWCAP_ASIMD) mask |= isa_bit(Isa::neon);
#endif
  return mask;
}

bool halves_512_bits() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  // AMD's family 19h, 0Fh and 0Ah added: Zen 3 and 4.
  return __builtin_cpu_is("amd") && __get_cpuid(1, &a, &b, &c, &d) && (a >> 8 & 0xf) == 0xf && (a >> 20 & 0xff) == 0xa;
#else
  return false;
#endif
}

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::size_t cache_bytes(int name, std::size_t fallback) {
  const long bytes = sysconf(name);
  return bytes > 0 ? static_cast<std::size_t>(bytes) : fallback;
}

}  // namespace

const char* isa_name(Isa isa) {
  return kNames[static_cast<int>(isa)];
}

IsaMask available_isas() {
  static const IsaMask mask = compiled_isas() & cpu_isas();
  return mask;
}

std::vector<std::string> isa_names(IsaMask mask) {
  std::vector<std::string> names;
  for (int i = 0; i < kIsaCount; ++i) {
    if (mask >> i & 1) names.emplace_back(kNames[i]);
  }
  return names;
}

Isa select_isa(const std::string& requested) {
  std::string name = requested, origin = "isa";
  if (name.empty()) {
    const char* forced = std::getenv("SPARSENET_FORCE_ISA");
    if (forced && *forced) name = forced, origin = "SPARSENET_FORCE_ISA";
  }
  const IsaMask usable = available_isas();
  if (name.empty()) {
    for (Isa isa : {Isa::avx512, Isa::avx2, Isa::neon}) {
      if (usable & isa_bit(isa)) return isa;
    }
    return Isa::scalar;
  }
  for (int i = 0; i < kIsaCount; ++i) {
    if (name != kNames[i]) continue;
    if (usable >> i & 1) return static_cast<Isa>(i);
    fail(ErrorCode::InvalidArgument, origin, "=", name, ": this machine cannot run it; it runs ",
         join(isa_names(usable)));
  }
  fail(ErrorCode::InvalidArgument, origin, "=", name, ": no such instruction set; this machine runs ",
       join(isa_names(usable)));
}

int vector_passes(int lanes) {
  static const bool halves = halves_512_bits();
  return lanes == 16 && halves ? 2 : 1;
}

bool runs_in_halves(Isa isa) {
  return isa == Isa::avx512 && vector_passes(16) > 1;
}

std::size_t l1_bytes() {
  static const std::size_t bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
  return bytes;
}

std::size_t l2_bytes() {
  static const std::size_t bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
  return bytes;
}

}  // namespace sn
