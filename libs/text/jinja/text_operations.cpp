#include "text/jinja/text_operations.h"

#include <fmt/format.h>
#include <locale.h>
#include <wctype.h>

#include <algorithm>

#include "text/utf8.h"

namespace bellwether::text::jinja {
namespace {

// glibc's own tables of Unicode, whatever the environment says.
locale_t unicode() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

wint_t upper(uint32_t code_point) {
  return unicode() == nullptr ? code_point : towupper_l(static_cast<wint_t>(code_point), unicode());
}

wint_t lower(uint32_t code_point) {
  return unicode() == nullptr ? code_point : towlower_l(static_cast<wint_t>(code_point), unicode());
}

// REQUIRES: `character` is one, well-formed.
uint32_t code_point_of(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(character[i]); };
  switch (character.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    case 3:
      return (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    default:
      return (byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
  }
}

std::string_view first_character(std::string_view text) {
  return text.substr(0, next_utf8(text).length);
}

std::string_view last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

bool is_stripped(std::string_view character, const std::optional<std::string_view>& characters) {
  return characters ? characters->find(character) != std::string_view::npos : is_space(character);
}

std::vector<std::string_view> split_at_space(std::string_view text, std::optional<size_t> splits_max, Sides from) {
  std::vector<std::string_view> parts;
  const Sides near = from == Sides::kRight ? Sides::kRight : Sides::kLeft;
  text = strip(text, std::nullopt, near);
  while (!text.empty()) {
    if (splits_max && parts.size() == *splits_max) {
      parts.push_back(text);
      break;
    }
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::string_view character = from == Sides::kRight ? last_character(rest) : first_character(rest);
      if (is_space(character)) break;
      from == Sides::kRight ? rest.remove_suffix(character.size()) : rest.remove_prefix(character.size());
    }
    parts.push_back(from == Sides::kRight ? text.substr(rest.size()) : text.substr(0, text.size() - rest.size()));
    text = strip(rest, std::nullopt, near);
  }
  if (from == Sides::kRight) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_from_right(std::string_view text, std::string_view separator,
                                               std::optional<size_t> splits_max) {
  std::vector<std::string_view> parts;
  while (!splits_max || parts.size() < *splits_max) {
    const size_t at = text.rfind(separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::string mapped(std::string_view text, wint_t (*map)(uint32_t)) {
  std::string out;
  out.reserve(text.size());
  for (const std::string_view character : Characters(text)) {
    append_utf8(static_cast<uint32_t>(map(code_point_of(character))), out);
  }
  return out;
}

bool is_line_end(std::string_view character) {
  const uint32_t c = code_point_of(character);
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

// All letters that have a case have this one, and there is one.
bool has_case(std::string_view text, wint_t (*same)(uint32_t), wint_t (*other)(uint32_t)) {
  bool any = false;
  for (const std::string_view character : Characters(text)) {
    const uint32_t c = code_point_of(character);
    if (same(c) != c) return false;
    any = any || other(c) != c;
  }
  return any;
}

bool is_printable(uint32_t c) {
  struct Range {
    uint32_t first;
    uint32_t last;
  };
  constexpr Range kUnprintable[] = {{0, 0x1F},          {0x7F, 0xA0},       {0xAD, 0xAD},     {0x1680, 0x1680},
                                    {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F}, {0x3000, 0x3000},
                                    {0xE000, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF},
                                    {0xE0000, 0xE00FF}, {0xE01F0, 0x10FFFF}};
  return std::none_of(std::begin(kUnprintable), std::end(kUnprintable),
                      [&](const Range& range) { return range.first <= c && c <= range.last; });
}

}  // namespace

size_t Characters::Iterator::length() const {
  return next_utf8(rest_).length;
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

bool is_space(std::string_view character) {
  const uint32_t c = code_point_of(character);
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

void append_utf8(uint32_t c, std::string& text) {
  const auto add = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6);
    add(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12);
    add(0x80 | (c >> 6 & 0x3F));
    add(0x80 | (c & 0x3F));
  } else {
    add(0xF0 | c >> 18);
    add(0x80 | (c >> 12 & 0x3F));
    add(0x80 | (c >> 6 & 0x3F));
    add(0x80 | (c & 0x3F));
  }
}

std::string_view strip(std::string_view text, const std::optional<std::string_view>& characters, Sides sides) {
  while (sides != Sides::kRight && !text.empty()) {
    const std::string_view first = first_character(text);
    if (!is_stripped(first, characters)) break;
    text.remove_prefix(first.size());
  }
  while (sides != Sides::kLeft && !text.empty()) {
    const std::string_view last = last_character(text);
    if (!is_stripped(last, characters)) break;
    text.remove_suffix(last.size());
  }
  return text;
}

std::vector<std::string_view> split(std::string_view text, const std::optional<std::string_view>& separator,
                                    std::optional<size_t> splits_max, Sides from) {
  if (!separator) return split_at_space(text, splits_max, from);
  if (from == Sides::kRight) return split_from_right(text, *separator, splits_max);
  std::vector<std::string_view> parts;
  while (!splits_max || parts.size() < *splits_max) {
    const size_t at = text.find(*separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator->size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const std::string_view character = first_character(text.substr(at));
    const size_t end = at;
    at += character.size();
    if (!is_line_end(character)) continue;
    if (character == "\r" && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view old_text, std::string_view new_text,
                    std::optional<size_t> times_max) {
  std::string out;
  size_t times = 0;
  const auto may = [&] { return !times_max || times < *times_max; };
  if (old_text.empty()) {
    for (const std::string_view character : Characters(text)) {
      if (may()) {
        out.append(new_text);
        ++times;
      }
      out.append(character);
    }
    if (may()) out.append(new_text);
    return out;
  }
  for (size_t at = text.find(old_text); at != std::string_view::npos && may(); at = text.find(old_text)) {
    out.append(text.substr(0, at)).append(new_text);
    text.remove_prefix(at + old_text.size());
    ++times;
  }
  return out.append(text);
}

size_t count(std::string_view text, std::string_view part) {
  if (part.empty()) return count_characters(text) + 1;
  size_t times = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++times;
  return times;
}

std::string to_upper(std::string_view text) {
  return mapped(text, upper);
}

std::string to_lower(std::string_view text) {
  return mapped(text, lower);
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const std::string_view first = first_character(text);
  return to_upper(first) + to_lower(text.substr(first.size()));
}

std::string title(std::string_view text) {
  std::string out;
  bool inside = false;
  for (const std::string_view character : Characters(text)) {
    const uint32_t c = code_point_of(character);
    const bool cased = upper(c) != c || lower(c) != c;
    append_utf8(static_cast<uint32_t>(inside ? lower(c) : upper(c)), out);
    inside = cased;
  }
  return out;
}

std::string title_parts(std::string_view text) {
  constexpr std::string_view kBefore = "-({[<";
  std::string out;
  bool inside = false;
  for (const std::string_view character : Characters(text)) {
    const uint32_t c = code_point_of(character);
    append_utf8(static_cast<uint32_t>(inside ? lower(c) : upper(c)), out);
    inside = !is_space(character) && (character.size() > 1 || kBefore.find(character) == std::string_view::npos);
  }
  return out;
}

bool is_upper(std::string_view text) {
  return has_case(text, upper, lower);
}

bool is_lower(std::string_view text) {
  return has_case(text, lower, upper);
}

bool is_letter(std::string_view character) {
  return unicode() != nullptr && iswalpha_l(static_cast<wint_t>(code_point_of(character)), unicode()) != 0 &&
         !is_digit(character);
}

bool is_digit(std::string_view character) {
  return character.size() == 1 && character[0] >= '0' && character[0] <= '9';
}

void append_python_literal(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out.push_back(quote);
  for (const std::string_view character : Characters(text)) {
    const uint32_t c = code_point_of(character);
    if (c == '\n') {
      out.append("\\n");
    } else if (c == '\r') {
      out.append("\\r");
    } else if (c == '\t') {
      out.append("\\t");
    } else if (c == '\\' || c == static_cast<uint8_t>(quote)) {
      out.append("\\").append(character);
    } else if (is_printable(c)) {
      out.append(character);
    } else if (c < 0x100) {
      out.append(fmt::format("\\x{:02x}", c));
    } else if (c < 0x10000) {
      out.append(fmt::format("\\u{:04x}", c));
    } else {
      out.append(fmt::format("\\U{:08x}", c));
    }
  }
  out.push_back(quote);
}

}  // namespace bellwether::text::jinja
