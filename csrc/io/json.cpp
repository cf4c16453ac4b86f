#include "io/json.h"

#include <cmath>
#include <locale>
#include <sstream>

#include "base/error.h"

namespace sn {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void append_utf8(std::string& out, unsigned cp) {
  if (cp < 0x80) {
    out += static_cast<char>(cp);
  } else if (cp < 0x800) {
    out += static_cast<char>(0xC0 | cp >> 6);
    out += static_cast<char>(0x80 | (cp & 0x3F));
  } else if (cp < 0x10000) {
    out += static_cast<char>(0xE0 | cp >> 12);
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (cp & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | cp >> 18);
    out += static_cast<char>(0x80 | (cp >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (cp & 0x3F));
  }
}

// Streams with the classic locale: strtod and printf follow the host program's decimal point, and
// floating-point from_chars is missing from the libc++ of current Android NDKs.
bool parse_double(std::string_view token, double& value) {
  std::istringstream in{std::string(token)};
  in.imbue(std::locale::classic());
  in >> value;
  return !in.fail() && std::isfinite(value);
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                             : (lead & 0xF0) == 0xE0        ? 3
                             : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                            : 0;
  if (length == 0 || text.size() < length) return 0;
  // The second byte's range is what rules out overlong forms, surrogates and code points above U+10FFFF.
  const unsigned lo = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned hi = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < lo || byte(1) > hi) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

void JsonReader::error(const std::string& message) const {
  fail(ErrorCode::FileFormat, what_, ", byte ", at_, ": ", message);
}

void JsonReader::skip_space() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
    ++at_;
}

void JsonReader::expect(char c) {
  skip_space();
  if (at_ >= text_.size()) error(std::string("expected '") + c + "', got the end");
  if (text_[at_] != c) error(std::string("expected '") + c + "'");
  ++at_;
}

void JsonReader::enter(char open) {
  expect(open);
  if (++depth_ > kMaxDepth) error("nested deeper than " + std::to_string(kMaxDepth));
}

bool JsonReader::more(char close, bool first) {
  skip_space();
  if (at_ < text_.size() && text_[at_] == close) {
    ++at_;
    return false;
  }
  if (!first) expect(',');
  return true;
}

unsigned JsonReader::hex4() {
  if (text_.size() - at_ < 4) error("\\u needs four hexadecimal digits");
  unsigned value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = text_[at_ + i];
    const int digit = is_digit(c)            ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) error("\\u needs four hexadecimal digits");
    value = value * 16 + static_cast<unsigned>(digit);
  }
  at_ += 4;
  return value;
}

std::string JsonReader::string(std::size_t max_bytes) {
  expect('"');
  std::string out;
  for (;;) {
    if (at_ >= text_.size()) error("a string without an end");
    if (out.size() > max_bytes) error("a string longer than " + std::to_string(max_bytes) + " bytes");
    const char c = text_[at_];
    if (c == '"') break;
    if (static_cast<unsigned char>(c) < 0x20) error("a control character in a string");
    if (c != '\\') {
      const std::size_t length = utf8_length(text_.substr(at_));
      if (length == 0) error("a string that is not UTF-8");
      out.append(text_, at_, length);
      at_ += length;
      continue;
    }
    if (++at_ >= text_.size()) error("a string without an end");
    switch (text_[at_++]) {
      case '"':
        out += '"';
        break;
      case '\\':
        out += '\\';
        break;
      case '/':
        out += '/';
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        unsigned cp = hex4();
        if (cp == 0) error("a NUL in a string");
        if (cp >= 0xD800 && cp < 0xDC00 && text_.substr(at_, 2) == "\\u") {
          at_ += 2;
          const unsigned low = hex4();
          if (low < 0xDC00 || low > 0xDFFF) error("a lone surrogate in a string");
          cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        } else if (cp >= 0xD800 && cp <= 0xDFFF) {
          error("a lone surrogate in a string");
        }
        append_utf8(out, cp);
        break;
      }
      default:
        error("an unknown escape in a string");
    }
  }
  if (out.size() > max_bytes) error("a string longer than " + std::to_string(max_bytes) + " bytes");
  ++at_;
  return out;
}

std::string_view JsonReader::number_token() {
  skip_space();
  std::size_t p = at_;
  const auto digits = [&] {
    const std::size_t start = p;
    while (p < text_.size() && is_digit(text_[p])) ++p;
    if (p == start) error("expected a number");
  };
  if (p < text_.size() && text_[p] == '-') ++p;
  if (p < text_.size() && text_[p] == '0') {
    ++p;
    if (p < text_.size() && is_digit(text_[p])) error("a number with a leading zero");
  } else {
    digits();
  }
  if (p < text_.size() && text_[p] == '.') ++p, digits();
  if (p < text_.size() && (text_[p] == 'e' || text_[p] == 'E')) {
    ++p;
    if (p < text_.size() && (text_[p] == '+' || text_[p] == '-')) ++p;
    digits();
  }
  // Longer than any number that this library or another writes; keeps one token from costing more than it should.
  if (p - at_ > 64) error("a number longer than 64 characters");
  return text_.substr(at_, p - at_);
}

std::int64_t JsonReader::integer(std::int64_t lo, std::int64_t hi) {
  const std::string_view token = number_token();
  if (token.find_first_of(".eE") != std::string_view::npos) error("expected a whole number, got " + std::string(token));
  const bool negative = token[0] == '-';
  std::int64_t value = 0;
  bool fits = true;
  for (const char c : token.substr(negative ? 1 : 0)) {
    const int digit = negative ? '0' - c : c - '0';
    fits = fits && !__builtin_mul_overflow(value, std::int64_t{10}, &value) &&
           !__builtin_add_overflow(value, std::int64_t{digit}, &value);
  }
  if (!fits || value < lo || value > hi) {
    error("expected a whole number from " + std::to_string(lo) + " to " + std::to_string(hi) + ", got " +
          std::string(token));
  }
  at_ += token.size();
  return value;
}

double JsonReader::number() {
  const std::string_view token = number_token();
  double value = 0;
  if (!parse_double(token, value)) error("a number out of range: " + std::string(token));
  at_ += token.size();
  return value;
}

std::vector<std::int64_t> JsonReader::integers(std::int64_t lo, std::int64_t hi, std::size_t max_count) {
  std::vector<std::int64_t> out;
  array([&] {
    if (out.size() == max_count) error("a list of more than " + std::to_string(max_count));
    out.push_back(integer(lo, hi));
  });
  return out;
}

bool JsonReader::null() {
  skip_space();
  if (text_.substr(at_, 4) != "null") return false;
  at_ += 4;
  return true;
}

void JsonReader::end() {
  skip_space();
  if (at_ != text_.size()) error("unexpected text after the end of the document");
}

bool append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text.substr(i));
    const char c = text[i];
    if (length == 0 || c == '\0') return false;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      const char* hex = "0123456789abcdef";
      out += "\\u00";
      out += hex[c >> 4];
      out += hex[c & 15];
    } else {
      out.append(text, i, length);
    }
    i += length;
  }
  out += '"';
  return true;
}

void append_json_number(std::string& out, double value) {
  std::string text;
  for (int digits = 6; digits <= 17; ++digits) {
    std::ostringstream stream;
    stream.imbue(std::locale::classic());
    stream.precision(digits);
    stream << value;
    text = stream.str();
    double back = 0;
    if (parse_double(text, back) && back == value) break;
  }
  // A mark of a float where the digits alone would read as an integer.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  out += text;
}

}  // namespace sn
