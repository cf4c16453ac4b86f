#include "kernels/panel/pack.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/half.h"

namespace sn {
namespace {

// Vector kernels may read one vector past a row's last entry: see spmv/generic.h.
constexpr std::size_t kOverread = 64;

bool any_bit(const std::uint64_t* bits, int begin, int end) {
  for (int k = begin; k < end; ++k) {
    if (bits[k / 64] >> (k % 64) & 1) return true;
  }
  return false;
}

// Entries of a row of blocks: groups of bc columns that hold a nonzero.
std::int64_t count_groups(const std::uint64_t* bits, std::int64_t words, int K, int bc) {
  std::int64_t count = 0;
  if (64 % bc == 0) {  // no group spans two words: gather each group's bits in its first, and count those
    const std::uint64_t firsts = bc == 64 ? 1 : ~std::uint64_t{0} / ((std::uint64_t{1} << bc) - 1);
    for (std::int64_t i = 0; i < words; ++i) {
      std::uint64_t x = bits[i];
      for (int s = 1; s < bc; s *= 2) x |= x >> s;
      count += __builtin_popcountll(x & firsts);
    }
    return count;
  }
  for (int k = 0; k < K; k += bc) count += any_bit(bits, k, std::min(k + bc, K));
  return count;
}

}  // namespace

Occupied::Occupied(const float* w, int groups, int M, int K)
    : groups_(groups), M_(M), K_(K), words_((K + 63) / 64), bits_(static_cast<std::size_t>(groups) * M * words_) {
  std::uint64_t* to = bits_.data();
  for (std::int64_t row = 0; row < static_cast<std::int64_t>(groups) * M; ++row, w += K) {
    for (int k = 0; k < K; k += 64, ++to) {
      const int n = std::min(64, K - k);
      std::uint64_t word = 0;
      for (int j = 0; j < n; ++j) word |= static_cast<std::uint64_t>(w[k + j] != 0.0f) << j;
      *to = word;
    }
  }
}

const std::uint64_t* Occupied::row_block(int g, int m, int br, std::vector<std::uint64_t>& merged) const {
  const std::uint64_t* first = bits_.data() + (static_cast<std::int64_t>(g) * M_ + m) * words_;
  if (br == 1) return first;
  merged.assign(first, first + words_);
  for (int i = 1; i < br && m + i < M_; ++i) {
    for (std::int64_t j = 0; j < words_; ++j) merged[j] |= first[i * words_ + j];
  }
  return merged.data();
}

std::vector<std::int64_t> Occupied::count_rows(int br, int bc) const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>((M_ + br - 1) / br));
  std::vector<std::uint64_t> merged;
  for (int g = 0; g < groups_; ++g) {
    for (int m = 0; m < M_; m += br) counts[m / br] += count_groups(row_block(g, m, br, merged), words_, K_, bc);
  }
  return counts;
}

std::int64_t Occupied::count(int br, int bc) const {
  const std::vector<std::int64_t> counts = count_rows(br, bc);
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

namespace {

// Writes the entries of row block m / br in columns [k0, k1) and returns how many there are.
std::uint32_t pack_segment(const float* a, int M, int K, int br, int bc, int m, int k0, int k1,
                           const std::uint64_t* occupied, std::uint16_t* index, float* value) {
  std::uint32_t e = 0;
  if (br * bc == 1) {  // without a branch an element: written in any case, kept if not zero
    const float* row = a + static_cast<std::int64_t>(m) * K;
    for (int k = k0; k < k1; ++k) {
      index[e] = static_cast<std::uint16_t>(k - k0);
      value[e] = row[k];
      e += row[k] != 0.0f;
    }
    return e;
  }
  for (int k = k0; k < k1; k += bc) {
    if (!any_bit(occupied, k, std::min(k + bc, k1))) continue;
    float* v = value + static_cast<std::int64_t>(e) * br * bc;
    index[e++] = static_cast<std::uint16_t>(k - k0);
    for (int j = 0; j < bc; ++j) {
      for (int i = 0; i < br; ++i) {
        const bool inside = m + i < M && k + j < K;
        *v++ = inside ? a[static_cast<std::int64_t>(m + i) * K + k + j] : 0.0f;
      }
    }
  }
  return e;
}

}  // namespace

std::shared_ptr<PackedMatrix> pack_sparse(const float* w, int groups, int M, int K, int br, int bc, int kc,
                                          const std::vector<std::int32_t>& chunk, bool keep_last,
                                          const std::vector<std::uint16_t>& places) {
  auto out = std::make_shared<PackedMatrix>();
  const int row_blocks = (M + br - 1) / br, k_blocks = (K + kc - 1) / kc;
  const Occupied occupied(w, groups, M, K);
  out->entries = occupied.count(br, bc);
  const std::size_t segments = static_cast<std::size_t>(groups) * row_blocks * k_blocks;
  out->start = AlignedBuffer((segments + 1) * sizeof(std::uint32_t));
  out->row = AlignedBuffer(segments * sizeof(std::uint32_t));
  out->index = AlignedBuffer(static_cast<std::size_t>(out->entries) * sizeof(std::uint16_t) + kOverread);
  out->value = AlignedBuffer(static_cast<std::size_t>(out->entries) * br * bc * sizeof(float) + kOverread);
  std::memset(out->index.as<char>() + out->index.size() - kOverread, 0, kOverread);
  std::memset(out->value.as<char>() + out->value.size() - kOverread, 0, kOverread);

  auto* start = out->start.as<std::uint32_t>();
  auto* rows = out->row.as<std::uint32_t>();
  auto* index = out->index.as<std::uint16_t>();
  auto* value = out->value.as<float>();
  // A chunk's segments in order of their rows; then each goes where its length puts it (a counting sort).
  std::vector<std::uint16_t> unsorted_index;
  std::vector<float> unsorted_value;
  std::vector<std::uint32_t> first(1), place;
  std::vector<std::uint64_t> merged;
  const std::size_t most = static_cast<std::size_t>((kc + bc - 1) / bc);
  std::uint32_t e = 0;
  for (int g = 0; g < groups; ++g) {
    const float* a = w + static_cast<std::int64_t>(g) * M * K;
    for (int kb = 0; kb < k_blocks; ++kb) {
      const int k0 = kb * kc, k1 = std::min(k0 + kc, K);
      for (std::size_t c = 0; c + 1 < chunk.size(); ++c) {
        const int rb0 = chunk[c], rb1 = chunk[c + 1];
        first.resize(static_cast<std::size_t>(rb1 - rb0) + 1);
        place.assign(most + 2, 0);  // [n]: segments longer than n, hence the first one of length n
        for (int rb = rb0; rb < rb1; ++rb) {
          const std::size_t at = first[rb - rb0];
          if (unsorted_index.size() < at + most + 1) {
            unsorted_index.resize(2 * (at + most + 1));
            unsorted_value.resize(unsorted_index.size() * br * bc);
          }
          const std::uint32_t n =
              pack_segment(a, M, K, br, bc, rb * br, k0, k1, occupied.row_block(g, rb * br, br, merged),
                           unsorted_index.data() + at, unsorted_value.data() + at * br * bc);
          first[rb - rb0 + 1] = first[rb - rb0] + n;
          ++place[n];
        }
        if (keep_last && kb == k_blocks - 1) {
          std::iota(rows, rows + (rb1 - rb0), static_cast<std::uint32_t>(rb0));
        } else {
          for (std::uint32_t n = static_cast<std::uint32_t>(most) + 1, longer = 0; n-- > 0;) {
            const std::uint32_t count = place[n];
            place[n] = longer;
            longer += count;
          }
          for (int rb = rb0; rb < rb1; ++rb) rows[place[first[rb - rb0 + 1] - first[rb - rb0]]++] = rb;
        }
        for (int i = 0; i < rb1 - rb0; ++i) {
          const std::uint32_t from = first[rows[i] - rb0], n = first[rows[i] - rb0 + 1] - from;
          std::copy_n(unsorted_index.data() + from, n, index + e);
          std::copy_n(unsorted_value.data() + static_cast<std::size_t>(from) * br * bc,
                      static_cast<std::size_t>(n) * br * bc, value + static_cast<std::size_t>(e) * br * bc);
          *start++ = e;
          e += n;
        }
        rows += rb1 - rb0;
      }
    }
  }
  *start = e;
  if (!places.empty()) std::transform(index, index + e, index, [&](std::uint16_t k) { return places[k]; });
  out->view = {br,
               bc,
               row_blocks,
               k_blocks,
               kc,
               out->start.as<std::uint32_t>(),
               out->row.as<std::uint32_t>(),
               index,
               out->value.as<float>(),
               nullptr,
               nullptr};
  return out;
}

std::shared_ptr<PackedMatrix> interleave_rows(const PackedMatrix& m, int unit) {
  const PackedWeights& from = m.view;
  const int rows = from.row_blocks, slices = (rows + unit - 1) / unit, all = slices * from.k_blocks;
  const int floats = from.br * from.bc;
  // Of the i-th row of slice s, and 0 of what only fills up the k-block's last slice.
  const auto segment = [&](int s, int i) { return s / slices * rows + s % slices * unit + i; };
  const auto length = [&](int s, int i) {
    const int at = segment(s, i);
    return s % slices * unit + i < rows ? from.start[at + 1] - from.start[at] : 0;
  };
  auto out = std::make_shared<PackedMatrix>();
  out->entries = m.entries;
  out->start = AlignedBuffer((static_cast<std::size_t>(all) + 1) * sizeof(std::uint32_t));
  out->row = AlignedBuffer(m.row.size());
  out->count = AlignedBuffer(static_cast<std::size_t>(all) * unit * sizeof(std::uint32_t));
  auto* start = out->start.as<std::uint32_t>();
  auto* count = out->count.as<std::uint32_t>();
  std::copy_n(from.row, m.row.size() / sizeof(std::uint32_t), out->row.as<std::uint32_t>());
  start[0] = 0;
  for (int s = 0; s < all; ++s) start[s + 1] = start[s] + length(s, 0) * unit;  // the longest comes first
  const std::size_t padded = start[all];
  out->index = AlignedBuffer(padded * sizeof(std::uint16_t) + kOverread);
  out->value = AlignedBuffer(padded * floats * sizeof(float) + kOverread);
  auto* index = out->index.as<std::uint16_t>();
  auto* value = out->value.as<float>();
  std::memset(index, 0, out->index.size());
  std::memset(value, 0, out->value.size());
  for (int s = 0; s < all; ++s) {
    for (int i = 0; i < unit; ++i) {
      const std::uint32_t n = *count++ = length(s, i);
      for (std::uint32_t e = 0; e < n; ++e) {
        const std::size_t at = start[s] + static_cast<std::size_t>(e) * unit + i,
                          source = from.start[segment(s, i)] + e;
        index[at] = from.index[source];
        std::copy_n(from.value + source * floats, floats, value + at * floats);
      }
    }
  }
  out->view = from;
  out->view.start = start, out->view.row = out->row.as<std::uint32_t>();
  out->view.index = index, out->view.value = value, out->view.count = out->count.as<std::uint32_t>();
  return out;
}

bool fit_half(const float* w, std::int64_t n) {
  return std::all_of(w, w + n, [](float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits &= 0x7fffffffu;
    const bool normal = bits - 0x38800000u < 0x47800000u - 0x38800000u;  // 2^-14 and up, below 2^16
    if (bits == 0 || normal) return (bits & 0x1fffu) == 0;
    return bits < 0x38800000u && float_from_half(half_from_float(x)) == x;
  });
}

void store_as_half(PackedMatrix& m) {
  const std::size_t n = (m.value.size() - kOverread) / sizeof(float);
  m.half = AlignedBuffer(n * sizeof(std::uint16_t) + kOverread);
  auto* half = m.half.as<std::uint16_t>();
  std::transform(m.view.value, m.view.value + n, half, half_from_float);
  std::memset(half + n, 0, kOverread);
  m.value = AlignedBuffer();
  m.view.value = nullptr, m.view.half = half;
}

namespace {

// Where tap (kh, kw) of a channel begins in a sliding panel: behind the copies of the phases and columns before.
std::int64_t slide_tap(const MatrixProblem& q, std::int64_t tile, std::int32_t kh, std::int32_t kw) {
  const std::int64_t h = static_cast<std::int64_t>(kh) * q.DH;
  const auto phase = static_cast<std::int32_t>(h % q.SH);
  const auto copy = [&](std::int32_t a) { return tile + slide_rows(q, a) * q.pitch; };
  std::int64_t at = h / q.SH * q.pitch + kw * copy(phase);
  for (std::int32_t a = 0; a < phase; ++a) at += slide_rows(q, a) >= 0 ? q.KW * copy(a) : 0;
  return at;
}

}  // namespace

std::vector<std::uint16_t> panel_places(const MatrixProblem& q, std::int64_t tile, int lanes, int kc) {
  std::vector<std::uint16_t> places;
  const std::int64_t pixels = q.strip * tile;
  for (int k = 0; k < kc; ++k) {
    const std::int64_t channel = k / (q.KH * q.KW);
    const std::int32_t kh = k / q.KW % q.KH, kw = k % q.KW;
    std::int64_t at = 0;
    switch (q.layout) {
      case Layout::packed:
        at = k * tile;
        break;
      case Layout::sliding:
        at = channel * slide_floats(q, tile) + slide_tap(q, tile, kh, kw);
        break;
      case Layout::padded:
      case Layout::shifted:
        at = channel * strip_channel(q, pixels) + strip_tap(q, strip_plane(q, pixels), kh, kw);
        break;
    }
    places.push_back(static_cast<std::uint16_t>(at / place_floats(q.layout, lanes)));
  }
  return places;
}

std::shared_ptr<PackedMatrix> pack_dense(const float* w, int groups, int M, int K, int br, int kc,
                                         const std::vector<std::uint16_t>& places) {
  auto out = std::make_shared<PackedMatrix>();
  const int row_blocks = (M + br - 1) / br;
  out->entries = static_cast<std::int64_t>(groups) * row_blocks * K;
  out->value = AlignedBuffer(static_cast<std::size_t>(out->entries) * br * sizeof(float) + kOverread);
  auto* value = out->value.as<float>();
  for (int g = 0; g < groups; ++g) {
    const float* a = w + static_cast<std::int64_t>(g) * M * K;
    for (int m = 0; m < M; m += br) {
      for (int k = 0; k < K; ++k) {
        for (int i = 0; i < br; ++i) *value++ = m + i < M ? a[static_cast<std::int64_t>(m + i) * K + k] : 0.0f;
      }
    }
  }
  out->index = AlignedBuffer(places.size() * sizeof(std::uint16_t));
  std::copy(places.begin(), places.end(), out->index.as<std::uint16_t>());
  const std::uint16_t* index = places.empty() ? nullptr : out->index.as<std::uint16_t>();
  out->view = {br,      1,      row_blocks, (K + kc - 1) / kc, kc, nullptr, nullptr, index, out->value.as<float>(),
               nullptr, nullptr};
  return out;
}

}  // namespace sn
