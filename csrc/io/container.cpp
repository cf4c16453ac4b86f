#include "io/container.h"

#include <cstring>
#include <string_view>

#include "base/error.h"
#include "io/layout.h"
#include "io/sha256.h"

namespace sn {

namespace {

// False if shape's product or its bytes leave 63 bits.
bool tensor_bytes(const Shape& shape, std::size_t width, std::size_t& count, std::size_t& bytes) {
  std::int64_t n = 1, total = 0;
  for (const std::int64_t d : shape) {
    if (__builtin_mul_overflow(n, d, &n)) return false;
  }
  if (__builtin_mul_overflow(n, static_cast<std::int64_t>(width), &total)) return false;
  count = static_cast<std::size_t>(n), bytes = static_cast<std::size_t>(total);
  return true;
}

std::size_t dtype_width(const std::string& dtype) {
  return dtype == "F32" ? 4 : dtype == "F16" || dtype == "U16" ? 2 : dtype == "U8" ? 1 : 0;
}

// Checks what must hold before anything is parsed, and returns the JSON header.
std::string_view check_envelope(const char* bytes, std::size_t n, const Limits& limits, std::string& digest_text) {
  const auto refuse = [](const auto&... parts) { fail(ErrorCode::FileFormat, parts...); };
  if (n > limits.bytes) refuse("the file has ", n, " bytes, more than the limit of ", limits.bytes);
  if (n < 8) refuse("not a .snet file: ", n, " bytes, fewer than the 8 of the header's length");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  if (length > n - 8)
    refuse("bytes 0-7: a header of ", length, " bytes in a file of ", n, ": truncated, or not a .snet file");
  if (length > limits.header_bytes)
    refuse("bytes 0-7: a header of ", length, " bytes, more than the limit of ", limits.header_bytes);
  const std::string_view header(bytes + 8, length), magic(kMagic), digest_key(kDigestKey);
  if (header.substr(0, magic.size()) != magic)
    refuse("not a .snet file: the header does not begin with sparsenet's mark");

  std::size_t at = magic.size();
  long version = 0;
  while (at < header.size() && header[at] >= '0' && header[at] <= '9' && version < 100000)
    version = version * 10 + (header[at++] - '0');
  if (at == magic.size() || header[magic.size()] == '0')
    refuse("byte ", 8 + magic.size(), ": expected the format version");
  if (version > kSnetVersion)
    refuse("format version ", version, " is newer than ", kSnetVersion,
           ", the newest this library reads; update sparsenet");
  if (version < kSnetOldestVersion)
    refuse("format version ", version, " is older than ", kSnetOldestVersion,
           ", the oldest this library reads; save the network again");
  if (header.substr(at, digest_key.size()) != digest_key) refuse("byte ", 8 + at, ": expected the digest");
  at += digest_key.size();
  if (header.size() - at <= kDigestDigits || header[at + kDigestDigits] != '"')
    refuse("byte ", 8 + at, ": expected a digest of 64 digits");
  const std::string zeros(kDigestDigits, '0');
  const char *digest = header.data() + at, *rest = digest + kDigestDigits;
  Sha256 sha;
  sha.update(bytes, static_cast<std::size_t>(digest - bytes));
  sha.update(zeros.data(), zeros.size());
  sha.update(rest, static_cast<std::size_t>(bytes + n - rest));
  digest_text = sha.hex();
  if (digest_text != header.substr(at, kDigestDigits))
    refuse("the digest does not match: the file is damaged or truncated");
  if ((8 + length) % kTensorAlign != 0)
    refuse("bytes 0-7: the data begins at ", 8 + length, ", not a multiple of ", kTensorAlign);
  return header;
}

}  // namespace

Container::Container(const char* bytes, std::size_t n, const Limits& limits) : limits_(limits) {
  const std::string_view header = check_envelope(bytes, n, limits, digest_);
  data_ = bytes + 8 + header.size();
  bytes_ = n - 8 - header.size();
  read_header(header);
}

void Container::read_header(std::string_view header) {
  JsonReader json(header, "header");
  bool has_graph = false;
  json.object([&](const std::string& key) {
    if (key != "__metadata__") return read_tensor(json, key);
    json.object([&](const std::string& name) {
      std::string text = json.string();
      if (name == "graph") graph_json_ = std::move(text), has_graph = true;
    });
  });
  json.end();
  if (!has_graph) fail(ErrorCode::FileFormat, "header: __metadata__ has no graph");
  if (end_ != bytes_)
    fail(ErrorCode::FileFormat, "the tensors end at ", end_, " but the file holds ", bytes_, " bytes of data");
  for (std::size_t i = 0; i < tensors_.size(); ++i) by_key_.emplace(tensors_[i].key, i);
}

// Each tensor must begin where the one before it ends: no overlap and no hole, in one pass.
void Container::read_tensor(JsonReader& json, const std::string& key) {
  if (static_cast<std::int64_t>(tensors_.size()) >= 4 * limits_.constants) json.error("too many tensors");
  Tensor t;
  t.key = key;
  std::vector<std::int64_t> offsets;
  json.record({"dtype", "shape", "data_offsets"}, [&](std::size_t member) {
    switch (member) {
      case 0:
        t.dtype = json.string(8);
        break;
      case 1:
        t.shape = json.integers(1, INT64_MAX, static_cast<std::size_t>(limits_.rank));
        break;
      case 2:
        offsets = json.integers(0, INT64_MAX, 2);
        break;
    }
  });
  const std::size_t width = dtype_width(t.dtype);
  if (width == 0) json.error("tensor '" + key + "': dtype '" + t.dtype + "' is none of F32, F16, U16, U8");
  if (!tensor_bytes(t.shape, width, t.count, t.bytes))
    json.error("tensor '" + key + "': shape " + to_string(t.shape) + " is too large");
  if (offsets.size() != 2) json.error("tensor '" + key + "': expected two data_offsets");
  const auto begin = static_cast<std::uint64_t>(offsets[0]), end = static_cast<std::uint64_t>(offsets[1]);
  if (begin != end_)
    json.error("tensor '" + key + "' begins at " + std::to_string(begin) + "; the one before it ends at " +
               std::to_string(end_));
  if (end < begin || end > bytes_)
    json.error("tensor '" + key + "' ends at " + std::to_string(end) + ", outside the data of " +
               std::to_string(bytes_) + " bytes");
  if (end - begin != t.bytes) {
    json.error("tensor '" + key + "': " + t.dtype + to_string(t.shape) + " needs " + std::to_string(t.bytes) +
               " bytes, data_offsets give " + std::to_string(end - begin));
  }
  t.data = data_ + begin;
  end_ = end;
  if (key.compare(0, std::strlen(kPadKey), kPadKey) == 0) {
    bool zero = t.dtype == "U8" && t.bytes < kTensorAlign;
    for (std::size_t i = 0; zero && i < t.bytes; ++i) zero = t.data[i] == 0;
    if (!zero) json.error("'" + key + "' must be fewer than 64 zero bytes");
    t.used = true;
  } else if (begin % kTensorAlign != 0) {
    json.error("tensor '" + key + "' begins at " + std::to_string(begin) + ", not a multiple of 64");
  }
  tensors_.push_back(std::move(t));
}

const Tensor& Container::take(const JsonReader& json, const std::string& key, const char* dtypes) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) json.error("no tensor '" + key + "'");
  Tensor& t = tensors_[found->second];
  if (t.used) json.error("tensor '" + key + "' is used twice");
  if (std::string_view(dtypes).find(t.dtype) == std::string_view::npos)
    json.error("tensor '" + key + "' is " + t.dtype + ", expected " + dtypes);
  t.used = true;
  return t;
}

void Container::check_all_taken() const {
  for (const Tensor& t : tensors_) {
    if (!t.used) fail(ErrorCode::FileFormat, "tensor '", t.key, "' belongs to no constant");
  }
}

}  // namespace sn
