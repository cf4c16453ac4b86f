#include "graph/names.h"

#include "graph/graph.h"

namespace sn {

void NameIndex::forget() {
  ids_.clear();
  suffix_.clear();
  known_ = 0;
}

void NameIndex::learn(const std::vector<Value>& values) {
  if (values.size() < known_) forget();
  for (; known_ < values.size(); ++known_) ids_.emplace(values[known_].name, static_cast<int>(known_));
}

int NameIndex::find(const std::vector<Value>& values, const std::string& name) {
  learn(values);
  const auto found = ids_.find(name);
  return found == ids_.end() ? kNoValue : found->second;
}

std::string NameIndex::unique(const std::vector<Value>& values, const std::string& wish) {
  if (find(values, wish) == kNoValue) return wish;
  int& suffix = suffix_.emplace(wish, 1).first->second;
  for (;; ++suffix) {
    std::string name = wish + "_" + std::to_string(suffix);
    if (ids_.find(name) == ids_.end()) return name;
  }
}

}  // namespace sn
