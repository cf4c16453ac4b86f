// The .snet reader against bytes from an enemy: whatever they are, an Error or a graph that verifies, and that the
// engine compiles and runs, or refuses in turn, within its buffers. Build with
// -DSPARSENET_SANITIZE=address,undefined to see reads outside the file and overflows too.
//
// Mutations are signed anew, so that they reach what lies behind the digest.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "io/snet.h"
#include "plan/engine.h"
#include "snet_victim.h"

using namespace sn;

// An allocation that is too large must fail as it does without a sanitizer.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}

namespace {

// A graph that was let in must not break the engine either. Large ones are left out for time's sake alone.
void compile_and_run(Graph g) {
  std::int64_t elements = 0;
  for (const Value& v : g.values) elements += v.size();
  if (elements > 200000) return;
  try {
    CompileOptions options;
    options.tune = false;
    const auto engine = Engine::compile(std::move(g), options);
    const auto buffers = [&](const std::vector<TensorInfo>& infos) {
      std::vector<std::vector<float>> out;
      for (const TensorInfo& info : infos) {
        std::int64_t n = 1;
        for (std::size_t i = 1; i < info.shape.size(); ++i) n *= info.shape[i];
        out.emplace_back(static_cast<std::size_t>(n), 0.5f);
      }
      return out;
    };
    std::vector<std::vector<float>> in = buffers(engine->inputs()), out = buffers(engine->outputs());
    std::vector<const float*> x;
    std::vector<float*> y;
    for (auto& b : in) x.push_back(b.data());
    for (auto& b : out) y.push_back(b.data());
    if (engine->inputs()[0].shape[0] > 1) return;  // a fixed batch
    engine->run(1, x.data(), y.data());
  } catch (const Error&) {
  } catch (const std::bad_alloc&) {  // scratch memory grows with the stride; the C API reports it as a status
  }
}

// True if the bytes are refused. They are put on the heap at their exact size, so that ASan guards both ends.
bool refused(const std::string& file, const Limits& limits = {}, std::string* why = nullptr) {
  const std::vector<char> bytes(file.begin(), file.end());
  try {
    Graph g = parse_snet(bytes.data(), bytes.size(), limits);
    g.verify();
    compile_and_run(std::move(g));
    return false;
  } catch (const Error& e) {
    CHECK(std::strlen(e.what()) > 10);
    if (why) *why = e.what();
    return true;
  }
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// The file with `from` in its header replaced, signed; refused, and for a reason that holds `reason`.
void must_refuse(const std::string& file, const std::string& from, const std::string& to, const std::string& reason) {
  std::string why;
  const bool ok = refused(build(replaced(header_of(file), from, to), data_of(file)), {}, &why);
  if (ok && why.find(reason) != std::string::npos) return;
  check::record(false, __FILE__, __LINE__,
                "'" + from + "' -> '" + to.substr(0, 99) + "': expected '" + reason + "', got '" + why + "'");
}

// ---- the tests ----

void truncation(const std::string& file) {
  for (std::size_t n = 0; n < file.size(); ++n) {
    CHECK(refused(file.substr(0, n)));
    std::string cut = file.substr(0, n);
    sign(cut);
    CHECK(refused(cut));
  }
  std::string longer = file + '\0';
  CHECK(refused(longer));
  sign(longer);
  CHECK(refused(longer));
}

void header_lengths(const std::string& file) {
  const std::size_t real = header_length(file);
  for (const std::uint64_t n :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{real - 1}, std::uint64_t{real + 1}, std::uint64_t{real + 64},
        std::uint64_t{file.size() - 8}, std::uint64_t{file.size() - 7}, std::uint64_t{file.size()},
        std::uint64_t{1} << 32, std::uint64_t{1} << 63, ~std::uint64_t{0} - 8, ~std::uint64_t{0} - 7,
        ~std::uint64_t{0}}) {
    std::string bad = file;
    for (int i = 0; i < 8; ++i) bad[static_cast<std::size_t>(i)] = static_cast<char>(n >> 8 * i);
    sign(bad);
    CHECK(refused(bad));
  }
}

// Every number of the header, those of the graph included, forced to extremes.
void numbers(const std::string& file) {
  const std::string header = header_of(file), data = data_of(file);
  const std::size_t graph = header.find("\"graph\""), graph_end = header.find("]}\"}");
  CHECK(graph != std::string::npos && graph_end != std::string::npos);
  int tried = 0;
  for (std::size_t i = graph; i < header.size(); ++i) {
    if (!std::strchr("[:,", header[i - 1]) || !std::strchr("-0123456789", header[i])) continue;
    const std::size_t end = header.find_first_not_of("-+.eE0123456789", i);
    const std::string old = header.substr(i, end - i);
    for (const char* value : {"0", "-1", "1", "2147483647", "2147483648", "4294967295", "1073741824",
                              "9223372036854775807", "-9223372036854775808", "9223372036854775808",
                              "18446744073709551615", "1e400", "-0.0", "0.5", "01", "null", "\\\"\\\"", "[]"}) {
      if (old == value) continue;
      const bool no = refused(build(header.substr(0, i) + value + header.substr(end), data));
      // Outside the graph each number follows from the rest of the file, so any other is a lie.
      CHECK(no || (i < graph_end && old != value));
      ++tried;
    }
  }
  CHECK(tried > 1500);
}

void bit_flips(const std::string& file) {
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::string bad = file;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    if (bit % 5 == 0) CHECK(refused(bad));
    sign(bad);
    refused(bad);
  }
}

void structure(const Graph& g, const std::string& file) {
  // versions, both ways
  must_refuse(file, "\"version\":\"1\"", "\"version\":\"2\"", "newer");
  must_refuse(file, "\"version\":\"1\"", "\"version\":\"99999999999999999999\"", "newer");
  must_refuse(file, "\"version\":\"1\"", "\"version\":\"0\"", "version");
  must_refuse(file, "\"version\":\"1\"", "\"version\":\"\"", "version");
  must_refuse(file, "\"format\":\"sparsenet\"", "\"format\":\"pt\"", "not a .snet file");
  // tensors
  must_refuse(file, "\"F32\"", "\"F64\"", "dtype");
  must_refuse(file, "\"F32\"", "\"U8\"", "bytes");
  must_refuse(file, "\"conv.bias\":{", "\"conv.bia\":{", "no tensor");
  must_refuse(file, "\"conv.bias\":{", "\"conv.weight#values\":{", "duplicate key");
  must_refuse(file, "\"dtype\":", "\"strides\":[1],\"dtype\":", "unknown key");
  must_refuse(file, "\"shape\":[8],", "", "expected 3 keys");
  must_refuse(file, "\"#pad", "\"pad", "not a multiple of 64");
  must_refuse(file, "\"sha256\"", "\"sha257\"", "digest");
  // strings
  must_refuse(file, "\"conv.bias\":{", "\"conv.bia\xFF\":{", "UTF-8");
  must_refuse(file, "\"conv.bias\":{", "\"conv.bia\xC0\x80\":{", "UTF-8");
  must_refuse(file, "\"conv.bias\":{", "\"conv.bia\xED\xA0\x80\":{", "UTF-8");
  must_refuse(file, "\"conv.bias\":{", "\"conv.bia\\u0000\":{", "NUL");
  must_refuse(file, "\"conv.bias\":{", "\"conv.bia\\ud800\":{", "surrogate");
  must_refuse(file, "\"conv.bias\":{", std::string("\"conv.bia\0\":{", 13), "control character");
  must_refuse(file, "\"conv.bias\":{", "\"conv.bia\\x\":{", "escape");
  must_refuse(file, "\"conv.bias\":{", "\"" + std::string(5000, 'a') + "\":{", "longer than");
  must_refuse(file, "\\\"name\\\":\\\"fc\\\"", "\\\"name\\\":\\\"f\\u0000\\\"", "NUL");
  // nesting and bombs
  must_refuse(file, "\"shape\":[8]", "\"shape\":" + std::string(100000, '[') + std::string(100000, ']'), "number");
  must_refuse(file, "\"graph\":", "\"note\":" + std::string(1 << 20, '[') + ",\"graph\":", "expected '\"'");
  std::string many = "[1";
  for (int i = 0; i < 100000; ++i) many += ",1";
  must_refuse(file, "\"shape\":[8]", "\"shape\":" + many + "]", "more than 8");
  // the graph
  must_refuse(file, "\\\"op\\\":\\\"Linear\\\"", "\\\"op\\\":\\\"Exec\\\"", "no op");
  must_refuse(file, "\\\"groups\\\":1", "\\\"groups\\\":0", "groups");
  must_refuse(file, "\\\"groups\\\":1", "\\\"groups\\\":2", "group");
  must_refuse(file, "\\\"groups\\\":1", "\\\"__class__\\\":1", "attribute");
  must_refuse(file, "\\\"stride\\\":[1,1]", "\\\"stride\\\":[0,1]", "stride");
  must_refuse(file, "\\\"stride\\\":[1,1]", "\\\"stride\\\":[1]", "stride");
  must_refuse(file, "\\\"padding\\\":[1,1,1,1]", "\\\"padding\\\":[65536,65536,1,1]", "more elements");
  must_refuse(file, "\\\"act\\\":\\\"clip\\\"", "\\\"act\\\":\\\"system\\\"", "activation");
  must_refuse(file, "\\\"output\\\":\\\"fc\\\"", "\\\"output\\\":\\\"conv\\\"", "already");
  must_refuse(file, "\\\"inputs\\\":[\\\"x\\\"", "\\\"inputs\\\":[\\\"fc\\\"", "no value named");  // a cycle
  must_refuse(file, "\\\"inputs\\\":[\\\"x\\\"", "\\\"inputs\\\":[\\\"gone\\\"", "no value named");
  must_refuse(file, "\\\"inputs\\\":[\\\"x\\\"", "\\\"inputs\\\":[\\\"conv.bias\\\"", "activation");
  must_refuse(file, "\\\"outputs\\\":[\\\"logits\\\",\\\"softmax\\\"]", "\\\"outputs\\\":[]", "no output");
  must_refuse(file, "\\\"fixed_batch\\\":0,", "", "unexpected key");
  must_refuse(file, "\\\"encoding\\\":\\\"gaps8\\\"", "\\\"encoding\\\":\\\"bitmap\\\"", "no tensor");
  must_refuse(file, "\\\"encoding\\\":\\\"gaps8\\\"", "\\\"encoding\\\":\\\"zeros\\\"", "belongs to no constant");
  must_refuse(file, "\\\"encoding\\\":\\\"gaps8\\\"", "\\\"encoding\\\":\\\"lzma\\\"", "unknown encoding");
  must_refuse(file, "\\\"shape\\\":[12],\\\"encoding\\\":\\\"zeros\\\"",
              "\\\"shape\\\":[1048576,1048576],\\\"encoding\\\":\\\"zeros\\\"", "2^40");
  must_refuse(file, "\\\"shape\\\":[12],\\\"encoding\\\":\\\"zeros\\\"",
              "\\\"shape\\\":[1099511627775,1099511627775],\\\"encoding\\\":\\\"zeros\\\"", "2^40");
  must_refuse(file, "\\\"shape\\\":[12],\\\"encoding\\\":\\\"zeros\\\"",
              "\\\"shape\\\":[1048576,65536],\\\"encoding\\\":\\\"zeros\\\"", "limit");
  CHECK(refused(build(header_of(file) + "x", data_of(file))));

  // limits
  std::string why;
  Limits l;
  l.nodes = 3;
  CHECK(refused(file, l, &why) && why.find("nodes") != std::string::npos);
  l = {}, l.constants = 4;
  CHECK(refused(file, l, &why) && why.find("constants") != std::string::npos);
  l = {}, l.rank = 3;
  CHECK(refused(file, l));
  l = {}, l.elements = 1000;
  CHECK(refused(file, l, &why) && why.find("limit of 1000") != std::string::npos);
  l = {}, l.bytes = file.size() - 1;
  CHECK(refused(file, l, &why) && why.find("limit") != std::string::npos);
  l = {}, l.header_bytes = 100;
  CHECK(refused(file, l, &why) && why.find("limit") != std::string::npos);
  CHECK(g.values.size() > 3);
}

// The place of a tensor's data in the file.
std::size_t data_at(const std::string& file, const std::string& key) {
  const std::size_t at = file.find("\"data_offsets\":[", file.find("\"" + key + "\":{"));
  CHECK(at != std::string::npos);
  return 8 + header_length(file) + static_cast<std::size_t>(std::atoll(file.c_str() + at + 16));
}

void index_values(const std::string& file) {
  const auto poke = [&](const std::string& key, std::size_t offset, const std::string& bytes) {
    std::string bad = file;
    bad.replace(data_at(file, key) + offset, bytes.size(), bytes);
    sign(bad);
    std::string why;
    CHECK(refused(bad, {}, &why));
    return why;
  };
  CHECK(poke("conv.weight#gaps8", 0, "\xF0").find("index") != std::string::npos);  // runs past the end
  CHECK(poke("conv.weight#gaps8", 0, "\xFF").find("index") != std::string::npos);  // one value too few
  CHECK(poke("rare#gaps16", 0, "\xFE\xFF").find("index") != std::string::npos);
  CHECK(poke("#2#bitmap", 0, std::string(12, '\xFF')).find("index") != std::string::npos);  // more bits than values
  CHECK(poke("#2#bitmap", 0, std::string(12, '\0')).find("index") != std::string::npos);    // fewer
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -inf}) {
    std::string bytes(4, '\0');
    std::memcpy(&bytes[0], &bad, 4);
    CHECK(poke("conv.weight#values", 0, bytes).find("'conv.weight'") != std::string::npos);
    CHECK(poke("conv.bias", 4, bytes).find("'conv.bias'") != std::string::npos);
  }
  CHECK(poke("#pad1", 0, "x").find("zero") != std::string::npos);
}

void mutations(const std::string& file, int rounds) {
  std::mt19937 random(20240607);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  const char* const tokens[] = {"0",       "-1",     "9223372036854775807",
                                "{",       "}",      "[",
                                "]",       ",",      ":",
                                "\"",      "\\\"",   "null",
                                "\\u0000", "1e308",  "\"F16\"",
                                "gaps8",   "gaps16", "dense",
                                "conv",    "x",      "[0,0]"};
  int accepted = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string header = header_of(file), data = data_of(file);
    for (std::size_t edits = 1 + below(3); edits > 0; --edits) {
      const std::size_t at = below(header.size());
      switch (below(6)) {
        case 0:
          header[at] = static_cast<char>(random());
          break;
        case 1:
          header.erase(at, 1 + below(8));
          break;
        case 2:
          header.insert(at, tokens[below(std::size(tokens))]);
          break;
        case 3:
          header.insert(at, header.substr(below(header.size()), below(200)));
          break;
        case 4:
          data[below(data.size())] = static_cast<char>(random());
          break;
        case 5:
          data.erase(below(data.size()), 1 + below(64));
          break;
      }
      if (data.empty() || header.empty()) break;
    }
    accepted += !refused(build(header, data));
  }
  CHECK(accepted > 0);  // some edits only touch values; were none accepted, the loop would not reach the checks
}

// The reader's time is linear in the number of nodes: a quadratic one would take minutes here. The default limit, which
// also guards the passes, is lower.
void large_graph() {
  const std::string node = "{\\\"op\\\":\\\"Identity\\\",\\\"name\\\":\\\"n\\\",\\\"attrs\\\":{},";
  std::string header =
      kMagic + std::string("1") + kDigestKey + std::string(64, '0') +
      "\",\"graph\":\"{\\\"fixed_batch\\\":0,\\\"inputs\\\":[{\\\"name\\\":\\\"v0\\\",\\\"shape\\\":[-1,1]}],"
      "\\\"constants\\\":[],\\\"nodes\\\":[";
  for (int i = 1; i <= 100000; ++i) {
    header += (i > 1 ? "," : "") + node + "\\\"output\\\":\\\"v" + std::to_string(i) + "\\\",\\\"inputs\\\":[\\\"v" +
              std::to_string(i - 1) + "\\\"]}";
  }
  const std::string file = build(header + "],\\\"outputs\\\":[\\\"v100000\\\"]}\"}}", "");
  Limits limits;
  limits.nodes = 100000;
  CHECK(parse_snet(file.data(), file.size(), limits).nodes.size() == 100000);
  std::string why;
  CHECK(refused(file, {}, &why) && why.find("more than 20000 nodes") != std::string::npos);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 5000;
  const Graph g = victim();
  const std::string file = serialize(g);
  check::run("structure", [&] { structure(g, file); });
  check::run("index_values", [&] { index_values(file); });
  check::run("header_lengths", [&] { header_lengths(file); });
  check::run("truncation", [&] { truncation(file); });
  check::run("numbers", [&] { numbers(file); });
  check::run("bit_flips", [&] { bit_flips(file); });
  check::run("mutations", [&] { mutations(file, rounds); });
  check::run("large_graph", [&] { large_graph(); });
  return check::finish();
}
