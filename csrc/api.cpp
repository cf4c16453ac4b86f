// sparsenet.h over Engine. Nothing is thrown across: every entry point runs its body inside guarded().
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "base/error.h"
#include "io/snet.h"
#include "plan/engine.h"
#include "sparsenet.h"

struct sn_engine {
  std::shared_ptr<const sn::Engine> engine;
};

namespace {

using sn::ErrorCode;
using sn::fail;

// A buffer of fixed size: reporting an error must not itself run out of memory.
thread_local char last_error[1024] = "";

sn_status report(sn_status status, const char* message) noexcept {
  std::size_t n = std::min(std::strlen(message), sizeof last_error - 1);
  // Cut between characters, not inside one.
  while (n > 0 && message[n] != '\0' && (static_cast<unsigned char>(message[n]) & 0xC0) == 0x80) --n;
  std::memcpy(last_error, message, n);
  last_error[n] = '\0';
  return status;
}

template <class Body>
sn_status guarded(Body&& body) noexcept {
  try {
    body();
    return SN_OK;
  } catch (const sn::Error& e) {
    return report(static_cast<sn_status>(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return report(SN_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return report(SN_INTERNAL, e.what());
  } catch (...) {
    return report(SN_INTERNAL, "an unknown exception");
  }
}

// body's value, or `otherwise` after an error
template <class T, class Body>
T guarded_value(T otherwise, Body&& body) noexcept {
  guarded([&] { otherwise = body(); });
  return otherwise;
}

const sn::Engine& checked(const sn_engine* engine) {
  if (!engine) fail(ErrorCode::InvalidArgument, "engine is NULL");
  return *engine->engine;
}

const sn::TensorInfo& tensor(const std::vector<sn::TensorInfo>& tensors, int i, const char* kind) {
  if (i < 0 || static_cast<std::size_t>(i) >= tensors.size()) {
    fail(ErrorCode::InvalidArgument, kind, " ", i, ": the network has ", tensors.size());
  }
  return tensors[static_cast<std::size_t>(i)];
}
const sn::TensorInfo& input(const sn_engine* engine, int i) {
  return tensor(checked(engine).inputs(), i, "input");
}
const sn::TensorInfo& output(const sn_engine* engine, int i) {
  return tensor(checked(engine).outputs(), i, "output");
}

std::int64_t sample_size(const sn::TensorInfo& t) {
  std::int64_t n = 1;
  for (std::size_t i = 1; i < t.shape.size(); ++i) n *= t.shape[i];
  return n;
}

// The caller's options as far as the caller knows them, and defaults for the rest.
sn_options complete(const sn_options* given) {
  sn_options o = SN_OPTIONS_INIT;
  if (!given) return o;
  constexpr std::size_t kFirst =
      offsetof(sn_options, max_nodes) + sizeof(std::int64_t);  // members of the first version
  if (given->size < kFirst) {
    fail(ErrorCode::InvalidArgument, "options.size is ", given->size, "; begin with SN_OPTIONS_INIT");
  }
  std::memcpy(&o, given, std::min(given->size, sizeof o));
  return o;
}

sn::Limits limits_of(const sn_options& o) {
  sn::Limits limits;
  if (o.max_file_bytes) limits.bytes = o.max_file_bytes;
  if (o.max_elements) limits.elements = o.max_elements;
  if (o.max_nodes) limits.nodes = o.max_nodes;
  if (limits.elements < 0 || limits.nodes < 0) fail(ErrorCode::InvalidArgument, "a limit in options is negative");
  return limits;
}

// load(limits) gives the graph.
template <class Load>
sn_status compile(const sn_options* options, sn_engine** out, Load&& load) noexcept {
  return guarded([&] {
    if (!out) fail(ErrorCode::InvalidArgument, "engine is NULL: no place for the result");
    *out = nullptr;
    const sn_options o = complete(options);
    sn::CompileOptions c;
    c.threads = o.threads;
    c.tune = o.tune != 0;
    c.tune_seconds = o.tune_seconds;
    c.batch = o.max_batch;
    c.isa = o.isa ? o.isa : "";
    auto engine = std::make_unique<sn_engine>();
    engine->engine = sn::Engine::compile(load(limits_of(o)), c, {o.parallel_for, o.parallel_for_user});
    engine->engine->reserve(engine->engine->options().batch);
    *out = engine.release();
  });
}

}  // namespace

extern "C" {

sn_status sn_load_path(const char* path, const sn_options* options, sn_engine** engine) {
  return compile(options, engine, [&](const sn::Limits& limits) {
    if (!path) fail(ErrorCode::InvalidArgument, "path is NULL");
    return sn::load_snet(path, limits);
  });
}

sn_status sn_load_memory(const void* bytes, size_t n, const sn_options* options, sn_engine** engine) {
  return compile(options, engine, [&](const sn::Limits& limits) {
    if (!bytes) fail(ErrorCode::InvalidArgument, "bytes is NULL");
    return sn::parse_snet(bytes, n, limits);
  });
}

void sn_free(sn_engine* engine) {
  delete engine;
}

int sn_input_count(const sn_engine* engine) {
  return guarded_value(0, [&] { return static_cast<int>(checked(engine).inputs().size()); });
}
const char* sn_input_name(const sn_engine* engine, int i) {
  return guarded_value<const char*>(nullptr, [&] { return input(engine, i).name.c_str(); });
}
int sn_input_rank(const sn_engine* engine, int i) {
  return guarded_value(0, [&] { return static_cast<int>(input(engine, i).shape.size()); });
}
const int64_t* sn_input_dims(const sn_engine* engine, int i) {
  return guarded_value<const int64_t*>(nullptr, [&] { return input(engine, i).shape.data(); });
}
int64_t sn_input_size(const sn_engine* engine, int i) {
  return guarded_value<int64_t>(0, [&] { return sample_size(input(engine, i)); });
}
int sn_output_count(const sn_engine* engine) {
  return guarded_value(0, [&] { return static_cast<int>(checked(engine).outputs().size()); });
}
const char* sn_output_name(const sn_engine* engine, int i) {
  return guarded_value<const char*>(nullptr, [&] { return output(engine, i).name.c_str(); });
}
int sn_output_rank(const sn_engine* engine, int i) {
  return guarded_value(0, [&] { return static_cast<int>(output(engine, i).shape.size()); });
}
const int64_t* sn_output_dims(const sn_engine* engine, int i) {
  return guarded_value<const int64_t*>(nullptr, [&] { return output(engine, i).shape.data(); });
}
int64_t sn_output_size(const sn_engine* engine, int i) {
  return guarded_value<int64_t>(0, [&] { return sample_size(output(engine, i)); });
}
const char* sn_isa(const sn_engine* engine) {
  return guarded_value<const char*>(nullptr, [&] { return checked(engine).options().isa.c_str(); });
}

sn_status sn_run(const sn_engine* engine, int64_t batch, const float* const* in, float* const* out) {
  return guarded([&] {
    const sn::Engine& e = checked(engine);
    if (!in || !out) fail(ErrorCode::InvalidArgument, in ? "out is NULL" : "in is NULL");
    for (std::size_t i = 0; i < e.inputs().size(); ++i) {
      if (!in[i]) fail(ErrorCode::InvalidArgument, "in[", i, "] ('", e.inputs()[i].name, "') is NULL");
    }
    for (std::size_t i = 0; i < e.outputs().size(); ++i) {
      if (!out[i]) fail(ErrorCode::InvalidArgument, "out[", i, "] ('", e.outputs()[i].name, "') is NULL");
    }
    e.run(batch, in, out);
  });
}

sn_status sn_reserve(const sn_engine* engine, int64_t batch) {
  return guarded([&] { checked(engine).reserve(batch); });
}

const char* sn_last_error(void) {
  return last_error;
}

const char* sn_status_name(sn_status status) {
  switch (status) {
    case SN_OK:
      return "SN_OK";
    case SN_INVALID_ARGUMENT:
      return "SN_INVALID_ARGUMENT";
    case SN_GRAPH:
      return "SN_GRAPH";
    case SN_SHAPE:
      return "SN_SHAPE";
    case SN_UNSUPPORTED_OP:
      return "SN_UNSUPPORTED_OP";
    case SN_FILE_FORMAT:
      return "SN_FILE_FORMAT";
    case SN_IO:
      return "SN_IO";
    case SN_OUT_OF_MEMORY:
      return "SN_OUT_OF_MEMORY";
    case SN_INTERNAL:
      return "SN_INTERNAL";
  }
  return "unknown status";
}

const char* sn_version(void) {
  return SPARSENET_VERSION;
}

}  // extern "C"
