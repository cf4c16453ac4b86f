// The whole test framework of the C++ tests: checks that count, and a final line. Include in one file a program.
//
//   static void adds() { CHECK(1 + 1 == 2); CHECK_THROWS(sn::ErrorCode::Shape, "expected", f()); }
//   int main() { RUN(adds); return check::finish(); }
#pragma once

#include <cstdio>
#include <exception>
#include <string>

#include "base/error.h"

namespace check {

inline int passed = 0, failed = 0;

inline void record(bool ok, const char* file, int line, const std::string& what) {
  ok ? ++passed : ++failed;
  if (!ok) std::printf("%s:%d: FAILED: %s\n", file, line, what.c_str());
}

template <class F>
void run(const char* name, F test) {
  try {
    test();
  } catch (const std::exception& e) {
    record(false, name, 0, std::string("unexpected exception: ") + e.what());
  }
}

// f must throw sn::Error with this code and a message that holds `part`.
template <class F>
void throws(sn::ErrorCode code, const std::string& part, F f, const char* file, int line, const char* what) {
  try {
    f();
  } catch (const sn::Error& e) {
    const std::string message = e.what();
    const bool ok = e.code() == code && message.find(part) != std::string::npos;
    record(ok, file, line,
           std::string(what) + ": expected code " + std::to_string(static_cast<int>(code)) + " and '" + part +
               "', got code " + std::to_string(static_cast<int>(e.code())) + " and '" + message + "'");
    return;
  }
  record(false, file, line, std::string(what) + ": expected an error with '" + part + "', got none");
}

inline int finish() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

}  // namespace check

#define CHECK(...) check::record((__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
#define CHECK_THROWS(code, part, ...) \
  check::throws(code, part, [&] { (void)(__VA_ARGS__); }, __FILE__, __LINE__, #__VA_ARGS__)
#define RUN(test) check::run(#test, test)
