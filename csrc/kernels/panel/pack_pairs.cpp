// Sparse rows in pairs that share what they can of a panel's loads.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <tuple>
#include <vector>

#include "kernels/panel/pack.h"

namespace sn {
namespace {

// The last k-block writes planes, which are met in order but for partners this near (MatrixProblem).
constexpr int kLastBand = 8;
// Partners are about as long as each other, and of those the ones that share most columns: a loop for what one has more
// of is mispredicted, which costs as much as two entries, where a shared column saves a quarter of one.
constexpr int kUneven = 20;

// The bits of rows' columns [k0, k1), `words` a row.
class Columns {
 public:
  Columns(const Occupied& occupied, int K) : occupied_(occupied), all_((K + 63) / 64) {}

  void read(int g, int m0, int m1, int k0, int k1) {
    first_ = m0, k0_ = k0;
    words_ = static_cast<std::size_t>((k1 - k0 + 63) / 64);
    bits_.assign(static_cast<std::size_t>(m1 - m0) * words_, 0);
    count_.assign(static_cast<std::size_t>(m1 - m0), 0);
    std::uint64_t* to = bits_.data();
    for (int m = m0; m < m1; ++m) {
      const std::uint64_t* from = occupied_.row_block(g, m, 1, unused_);
      for (std::size_t j = 0; j < words_; ++j, ++to) {
        const int k = k0 + 64 * static_cast<int>(j), at = k / 64, shift = k % 64, left = k1 - k;
        *to = from[at] >> shift;
        if (shift > 0 && at + 1 < all_) *to |= from[at + 1] << (64 - shift);
        if (left < 64) *to &= (std::uint64_t{1} << left) - 1;
        count_[m - m0] += __builtin_popcountll(*to);
      }
    }
  }

  int count(int m) const { return count_[m - first_]; }

  int shared(int a, int b) const {
    int n = 0;
    for (std::size_t j = 0; j < words_; ++j) n += __builtin_popcountll(row(a)[j] & row(b)[j]);
    return n;
  }

  // Calls use(k) for each column of row a that row b has (`both`) or lacks; row b may be none.
  template <class Use>
  void each(int a, int b, bool none, bool both, Use use) const {
    for (std::size_t j = 0; j < words_; ++j) {
      const std::uint64_t other = none ? 0 : row(b)[j];
      for (std::uint64_t x = row(a)[j] & (both ? other : ~other); x != 0; x &= x - 1) {
        use(k0_ + 64 * static_cast<int>(j) + __builtin_ctzll(x));
      }
    }
  }

 private:
  const std::uint64_t* row(int m) const { return bits_.data() + static_cast<std::size_t>(m - first_) * words_; }

  const Occupied& occupied_;
  int all_, first_ = 0, k0_ = 0;
  std::size_t words_ = 0;
  std::vector<std::uint64_t> bits_, unused_;
  std::vector<int> count_;
};

// Rows, a of as many entries as b or more; columns of both, and how many more a has than b.
struct Pair {
  int a, b, shared, both, rest;
};

// Rows [m0, m1), which `columns` has read: each of the longest left takes the best of the others. An odd one's partner
// is row M, which is none.
void choose_pairs(const Columns& columns, int m0, int m1, int M, bool by_length, std::vector<Pair>& out) {
  std::vector<int> left(static_cast<std::size_t>(m1 - m0));
  std::iota(left.begin(), left.end(), m0);
  if (by_length) {
    std::stable_sort(left.begin(), left.end(), [&](int a, int b) { return columns.count(a) > columns.count(b); });
  }
  while (!left.empty()) {
    const int a = left.front();
    left.erase(left.begin());
    if (left.empty()) {
      out.push_back({a, M, 0, 0, columns.count(a)});
      return;
    }
    std::size_t best = 0;
    int most = 0, shared = 0;
    for (std::size_t i = 0; i < left.size(); ++i) {
      const int n = columns.shared(a, left[i]);
      const int gain = n - kUneven * std::abs(columns.count(a) - columns.count(left[i]));
      if (i == 0 || gain > most) best = i, most = gain, shared = n;
    }
    const int b = left[best];
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best));
    const bool longer = columns.count(a) >= columns.count(b);
    const int more = longer ? a : b, fewer = longer ? b : a, both = columns.count(fewer) - shared;
    out.push_back({more, fewer, shared, both, columns.count(more) - columns.count(fewer)});
  }
}

}  // namespace

std::shared_ptr<PackedMatrix> pack_pairs(const float* w, int groups, int M, int K, int kc,
                                         const std::vector<std::int32_t>& chunk,
                                         const std::vector<std::uint16_t>& places) {
  auto out = std::make_shared<PackedMatrix>();
  const int row_blocks = (M + 1) / 2, k_blocks = (K + kc - 1) / kc;
  const Occupied occupied(w, groups, M, K);
  const std::int64_t weights = occupied.count(1, 1);
  const std::size_t segments = static_cast<std::size_t>(groups) * row_blocks * k_blocks;
  out->start = AlignedBuffer((4 * segments + 1) * sizeof(std::uint32_t));
  out->row = AlignedBuffer(2 * segments * sizeof(std::uint32_t));
  out->value = AlignedBuffer(static_cast<std::size_t>(weights) * sizeof(float));
  auto* start = out->start.as<std::uint32_t>();
  auto* rows = out->row.as<std::uint32_t>();
  auto* value = out->value.as<float>();
  std::vector<std::uint16_t> index;
  index.reserve(static_cast<std::size_t>(weights));
  Columns columns(occupied, K);
  std::vector<Pair> pairs;
  std::vector<int> own;  // b's
  std::uint32_t at = 0;
  for (int g = 0; g < groups; ++g) {
    for (int kb = 0; kb < k_blocks; ++kb) {
      const int k0 = kb * kc, k1 = std::min(k0 + kc, K);
      const bool last = kb == k_blocks - 1;
      const int band = last ? kLastBand : kPairBand;
      for (std::size_t c = 0; c + 1 < chunk.size(); ++c) {
        const int m0 = 2 * chunk[c], m1 = std::min(2 * chunk[c + 1], M);
        columns.read(g, m0, m1, k0, k1);
        pairs.clear();
        for (int m = m0; m < m1; m += band) choose_pairs(columns, m, std::min(m + band, m1), M, !last, pairs);
        if (!last) {
          std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& x, const Pair& y) {
            return std::tie(x.rest, x.shared, x.both) > std::tie(y.rest, y.shared, y.both);
          });
        }
        for (const Pair& p : pairs) {
          const auto begin = static_cast<std::uint32_t>(index.size());
          const float* const a = w + (static_cast<std::int64_t>(g) * M + p.a) * K;
          const float* const b = w + (static_cast<std::int64_t>(g) * M + p.b) * K;
          *rows++ = static_cast<std::uint32_t>(p.a), *rows++ = static_cast<std::uint32_t>(p.b);
          *start++ = begin, *start++ = begin + p.shared, *start++ = begin + p.shared + 2 * p.both, *start++ = at;
          const auto enter = [&](int k, float weight) {
            index.push_back(places[k - k0]);
            value[at++] = weight;
          };
          const bool none = p.b == M;
          columns.each(p.a, p.b, none, true, [&](int k) { enter(k, a[k]), value[at++] = b[k]; });
          own.clear();
          if (!none) columns.each(p.b, p.a, false, false, [&](int k) { own.push_back(k); });
          std::size_t i = 0;
          columns.each(p.a, p.b, none, false, [&](int k) {
            enter(k, a[k]);
            if (i < own.size()) enter(own[i], b[own[i]]), ++i;
          });
        }
      }
    }
  }
  *start = static_cast<std::uint32_t>(index.size());
  out->entries = static_cast<std::int64_t>(index.size());
  out->index = AlignedBuffer(index.size() * sizeof(std::uint16_t));
  std::copy(index.begin(), index.end(), out->index.as<std::uint16_t>());
  out->view = {2,
               1,
               row_blocks,
               k_blocks,
               kc,
               out->start.as<std::uint32_t>(),
               out->row.as<std::uint32_t>(),
               out->index.as<std::uint16_t>(),
               value,
               nullptr,
               nullptr};
  return out;
}

}  // namespace sn
