// One exception type inside the library; the C API turns it into a status code, the bindings into a
// Python exception of the matching class. A message names the node, the tensor, what was expected and
// what came.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace sn {

enum class ErrorCode {
  InvalidArgument = 1,  // a caller's argument: wrong option, null pointer, unknown name
  Graph = 2,            // the graph breaks a rule of the IR
  Shape = 3,            // a shape, rank or dtype does not fit
  UnsupportedOp = 4,
  FileFormat = 5,  // bytes that are not a valid .snet
  Io = 6,          // the operating system refused: open, read, write, rename
  OutOfMemory = 7,
  Internal = 8,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

// fail(ErrorCode::Shape, "node '", name, "': expected ", k, " channels, got ", c)
template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  throw Error(code, out.str());
}

}  // namespace sn
