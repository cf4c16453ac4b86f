#include "kernels/peak/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "base/error.h"
#include "kernels/peak/burst.h"

namespace sn {

#define SN_PEAK(isa)                                     \
  namespace isa {                                        \
  extern float peak_burst(std::int64_t rounds) noexcept; \
  extern const int peak_lanes;                           \
  }
SN_PEAK(scalar)
SN_PEAK(avx2)
SN_PEAK(avx512)
SN_PEAK(neon)
#undef SN_PEAK

namespace {

double measure(float (*burst)(std::int64_t) noexcept, int lanes) {
  constexpr std::int64_t kRounds = 100000;
  double best = 0;
  volatile float sink = 0;
  for (int i = 0; i < 12; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    sink = sink + burst(kRounds);
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * kPeakChains * lanes * kRounds / s * 1e-9);
  }
  return best;
}

}  // namespace

double measure_peak_gflops(Isa isa) {
  if (!(available_isas() & isa_bit(isa))) fail(ErrorCode::InvalidArgument, "this machine cannot run ", isa_name(isa));
  static std::mutex mutex;
  static double peak[kIsaCount] = {};
  std::lock_guard<std::mutex> lock(mutex);
  double& p = peak[static_cast<int>(isa)];
  if (p > 0) return p;
  switch (isa) {
#ifdef SPARSENET_HAVE_AVX2
    case Isa::avx2:
      return p = measure(avx2::peak_burst, avx2::peak_lanes);
#endif
#ifdef SPARSENET_HAVE_AVX512
    case Isa::avx512:
      return p = measure(avx512::peak_burst, avx512::peak_lanes);
#endif
#ifdef SPARSENET_HAVE_NEON
    case Isa::neon:
      return p = measure(neon::peak_burst, neon::peak_lanes);
#endif
    default:
      return p = measure(scalar::peak_burst, scalar::peak_lanes);
  }
}

}  // namespace sn
