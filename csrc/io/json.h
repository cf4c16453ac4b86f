// A strict pull reader for JSON from untrusted sources, and the writer's counterpart.
//
// The caller asks for what its schema has at this place, so nothing is built that was not asked for: memory stays
// proportional to what the caller keeps, and nesting is bounded by the caller's own code (depth() is capped all the
// same). Refused: duplicate keys, invalid UTF-8, NUL, control characters, lone surrogates, numbers outside the range
// asked for, anything after the document.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace sn {

class JsonReader {
 public:
  static constexpr int kMaxDepth = 64;
  static constexpr std::size_t kNoCap = ~std::size_t{0};

  // `what` names the document in errors: "header", "graph".
  JsonReader(std::string_view text, const char* what) : text_(text), what_(what) {}

  // Calls member(key) for each member; it must consume the value.
  template <class Member>
  void object(Member&& member) {
    enter('{');
    std::set<std::string> seen;  // ordered: an enemy can choose keys whose hashes collide
    while (more('}', seen.empty())) {
      std::string key = string(kMaxKey);
      if (!seen.insert(key).second) error("duplicate key '" + key + "'");
      expect(':');
      member(key);
    }
    --depth_;
  }
  // An object with exactly these members, in any order: calls member(i) for the one named names[i].
  template <class Member>
  void record(std::initializer_list<const char*> names, Member&& member) {
    std::size_t seen = 0;
    object([&](const std::string& key) {
      std::size_t i = 0;
      while (i < names.size() && key != names.begin()[i]) ++i;
      if (i == names.size()) error("unknown key '" + key + "'");
      ++seen;
      member(i);
    });
    if (seen != names.size()) error("expected " + std::to_string(names.size()) + " keys, got " + std::to_string(seen));
  }
  // Calls item() for each element; it must consume the element.
  template <class Item>
  void array(Item&& item) {
    enter('[');
    for (bool first = true; more(']', first); first = false) item();
    --depth_;
  }

  std::string string(std::size_t max_bytes = kNoCap);
  std::int64_t integer(std::int64_t lo, std::int64_t hi);
  double number();
  // A list of at most max_count integers in [lo, hi].
  std::vector<std::int64_t> integers(std::int64_t lo, std::int64_t hi, std::size_t max_count);
  bool null();  // consumes null if it stands here
  void end();   // nothing but white space is left

  // Throws FileFormat with this document's name and the offset reached.
  [[noreturn]] void error(const std::string& message) const;

 private:
  static constexpr std::size_t kMaxKey = 4096;

  void skip_space();
  void enter(char open);
  bool more(char close, bool first);
  void expect(char c);
  std::string_view number_token();
  unsigned hex4();

  std::string_view text_;
  const char* what_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

// Appends `text` in quotes. False if it is not UTF-8 or holds a NUL: such a string has no strict JSON form.
bool append_json_string(std::string& out, std::string_view text);
// Appends the shortest decimal of at most 17 digits that reads back as exactly `value`, which must be finite.
void append_json_number(std::string& out, double value);

// The length of a valid UTF-8 sequence at the start of `text`, 0 if there is none (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view text);

}  // namespace sn
