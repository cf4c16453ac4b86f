// Files of the .snet format, saved and loaded: what comes back, what the system refuses, what is left behind.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/half.h"
#include "check.h"
#include "io/snet.h"
#include "snet_victim.h"

using namespace sn;

namespace {

void round_trip(const Graph& g, const std::string& file) {
  const Graph back = parse_snet(file.data(), file.size());
  CHECK(same_bits(g, back));
  CHECK(serialize(back) == file);
  std::string shifted = "?" + file;  // bytes need not be aligned
  CHECK(same_bits(g, parse_snet(shifted.data() + 1, file.size())));
  for (const char* encoding : {"dense", "zeros", "bitmap", "gaps8", "gaps16"}) {
    CHECK(file.find(std::string("\\\"encoding\\\":\\\"") + encoding) != std::string::npos);
  }
  const std::string halves = serialize(g, true);
  CHECK(halves.size() < file.size());
  const Graph h = parse_snet(halves.data(), halves.size());
  const float* full = g.values[static_cast<std::size_t>(g.find("conv.weight"))].data.get();
  const float* rounded = h.values[static_cast<std::size_t>(h.find("conv.weight"))].data.get();
  for (int i = 0; i < 216; ++i) CHECK(rounded[i] == float_from_half(half_from_float(full[i])));
  CHECK(serialize(h, true) == halves);
}

void half_floats() {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((bits & 0x7c00) != 0x7c00 || (bits & 0x3ff) == 0) CHECK(half_from_float(float_from_half(half)) == half);
    // Between two neighbours the tie goes to the even one, and anything off the tie to the nearer.
    if ((bits & 0x7fff) >= 0x7bff) continue;
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const float a = float_from_half(half), b = float_from_half(next), middle = a + (b - a) / 2;
    CHECK(half_from_float(middle) == ((bits & 1) ? next : half));
    CHECK(half_from_float(std::nextafter(middle, a)) == half);
    CHECK(half_from_float(std::nextafter(middle, b)) == next);
  }
  CHECK(half_from_float(65519.996f) == 0x7bff && half_from_float(65520.0f) == 0x7c00);
}

std::string read_all(const std::string& path) {
  std::string out;
  if (FILE* f = std::fopen(path.c_str(), "rb")) {
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, f)) > 0;) out.append(buffer, n);
    std::fclose(f);
  }
  return out;
}

void files(const Graph& g, const std::string& file) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::temp_directory_path() / ("snet_hostile." + std::to_string(::getpid()));
  fs::create_directory(dir);
  const std::string path = dir / "model.snet", fifo = dir / "fifo", nowhere = dir / "no" / "model.snet";
  const auto entries = [&] { return std::distance(fs::directory_iterator(dir), fs::directory_iterator()); };

  save_snet(g, path);
  CHECK(read_all(path) == file && entries() == 1);
  CHECK(same_bits(g, load_snet(path)));
  Limits small;
  small.bytes = 100;
  CHECK_THROWS(ErrorCode::FileFormat, "limit of 100", load_snet(path, small));

  CHECK(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THROWS(ErrorCode::Io, "regular", load_snet(fifo));
  CHECK_THROWS(ErrorCode::Io, "regular", save_snet(g, fifo));
  CHECK(fs::is_fifo(fifo));
  fs::remove(fifo);
  CHECK_THROWS(ErrorCode::Io, "regular", load_snet("/dev/zero"));
  CHECK_THROWS(ErrorCode::Io, "regular", load_snet(dir));
  CHECK_THROWS(ErrorCode::Io, "No such file", load_snet(nowhere));
  CHECK_THROWS(ErrorCode::Io, "No such file", save_snet(g, nowhere));
  CHECK_THROWS(ErrorCode::Io, "regular", save_snet(g, dir));
  CHECK_THROWS(ErrorCode::InvalidArgument, "empty path", load_snet(""));
  CHECK_THROWS(ErrorCode::InvalidArgument, "NUL", load_snet(std::string("a\0b", 3)));

  // A write that fails half-way: the old file stays, nothing else does.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  CHECK(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const rlimit tight{file.size() / 2, old.rlim_max};
  CHECK(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  CHECK_THROWS(ErrorCode::Io, "File too large", save_snet(g, path));
  CHECK(::setrlimit(RLIMIT_FSIZE, &old) == 0);
  CHECK(read_all(path) == file && entries() == 1);

  // So does a graph that cannot be saved.
  const auto with = [&](const std::string& name, Shape shape, std::vector<float> data) {
    Graph bad = g;
    bad.add_constant(name, std::move(shape), data);
    return bad;
  };
  CHECK_THROWS(ErrorCode::InvalidArgument, "'nan'", save_snet(with("nan", {1}, {NAN}), path));
  CHECK_THROWS(ErrorCode::InvalidArgument, "'big'", save_snet(with("big", {1, 2}, {1, 70000}), path, true));
  CHECK_THROWS(ErrorCode::InvalidArgument, "UTF-8", save_snet(with("\xFF", {1}, {1}), path));
  CHECK_THROWS(ErrorCode::InvalidArgument, "NUL", save_snet(with(std::string("a\0", 2), {1}, {1}), path));
  CHECK_THROWS(ErrorCode::InvalidArgument, "longer", save_snet(with(std::string(5000, 'a'), {1}, {1}), path));
  CHECK(read_all(path) == file && entries() == 1);
  save_snet(with("big", {2}, {1, 70000}), path, true);  // vectors stay fp32
  save_snet(with("edge", {1, 2}, {65519, -65519}), path, true);
  fs::remove_all(dir);
}

void digests_agree_with_and_without_the_cpus_help() {
  std::string text = "abc";
  Sha256 standard;  // FIPS 180-4's example
  standard.update(text.data(), text.size());
  CHECK(standard.hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::mt19937 random(1);
  text.clear();
  for (int i = 0; i < 600; ++i) {
    Sha256 fast(true), plain(false);
    fast.update(text.data(), text.size() / 3);
    fast.update(text.data() + text.size() / 3, text.size() - text.size() / 3);
    plain.update(text.data(), text.size());
    CHECK(fast.hex() == plain.hex());
    text += static_cast<char>(random());
  }
}

}  // namespace

int main() {
  RUN(digests_agree_with_and_without_the_cpus_help);
  const Graph g = victim();
  const std::string file = serialize(g);
  check::run("round_trip", [&] { round_trip(g, file); });
  RUN(half_floats);
  check::run("files", [&] { files(g, file); });
  return check::finish();
}
