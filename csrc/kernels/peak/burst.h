#pragma once

namespace sn {

constexpr int kPeakChains = 12;

}  // namespace sn
