// Which value has which name, and names that are still free: in logarithmic time, where searching the values would make
// every pass quadratic.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace sn {

struct Value;

// Knows the first `known_` values of a graph and learns the others when asked. Whoever renames or renumbers values
// calls forget(). A copy of a graph starts with nothing known.
class NameIndex {
 public:
  NameIndex() = default;
  NameIndex(const NameIndex&) {}
  NameIndex& operator=(const NameIndex&) {
    forget();
    return *this;
  }

  int find(const std::vector<Value>& values, const std::string& name);
  std::string unique(const std::vector<Value>& values, const std::string& wish);
  void forget();

 private:
  void learn(const std::vector<Value>& values);

  // Ordered: a file can hold names whose hashes collide.
  std::map<std::string, int> ids_;
  std::map<std::string, int> suffix_;  // by wish: every smaller one is taken
  std::size_t known_ = 0;
};

}  // namespace sn
