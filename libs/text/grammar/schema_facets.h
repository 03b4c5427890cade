// What JSON Schemas say of a value, several that must all hold taken together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "text/grammar/budget.h"
#include "text/grammar/number_range.h"

namespace bellwether::text::grammar {

// A schema, or another part of one, and its JSON pointer.
struct SchemaSource {
  const boost::json::value* value = nullptr;
  std::string path;
};

[[nodiscard]] std::string child_path(const std::string& path, std::string_view key);

// Sets of types; a number that is an integer is apart from one that is not.
struct Types {
  static constexpr uint8_t kNull = 1;
  static constexpr uint8_t kBoolean = 2;
  static constexpr uint8_t kInteger = 4;
  static constexpr uint8_t kFraction = 8;
  static constexpr uint8_t kNumber = kInteger | kFraction;
  static constexpr uint8_t kString = 16;
  static constexpr uint8_t kArray = 32;
  static constexpr uint8_t kObject = 64;
  static constexpr uint8_t kAll = 127;
};

// Of one schema: what it says of an object's or an array's parts.
struct ObjectPart {
  const boost::json::object* properties = nullptr;
  std::optional<SchemaSource> additional = {};
  std::string path = {};  // of the schema
};
struct ArrayPart {
  const boost::json::array* prefix = nullptr;
  std::optional<SchemaSource> items = {};
  std::string path = {};
};

struct SchemaFacets {
  bool allows_nothing = false;
  bool names_types = false;
  uint8_t types = Types::kAll;
  std::optional<std::vector<const boost::json::value*>> values = {};  // of enum and const
  std::string values_path = {};
  std::string limits_path = {};  // of the last keyword that limits more than the type; "" when there is none
  uint8_t limited_types = 0;     // the types that such keywords are about
  NumberRange numbers = {};
  uint32_t length_min = 0;
  std::optional<uint32_t> length_max = {};
  std::vector<SchemaSource> patterns = {};
  std::vector<SchemaSource> formats = {};
  uint32_t items_min = 0;
  std::optional<uint32_t> items_max = {};
  std::vector<ArrayPart> arrays = {};
  std::vector<ObjectPart> objects = {};
  std::vector<std::string_view> required = {};
  std::vector<SchemaSource> choices = {};  // arrays of schemas, of each of which one must hold: anyOf and oneOf

  // The types that a value can have. Where none are named, those that the schema's keywords are about, if there are
  // any.
  [[nodiscard]] uint8_t possible_types() const;
};

// Reads schemas of one document. Throws GrammarError naming the keyword that is wrong or not supported.
class SchemaReader {
 public:
  // REQUIRES: both outlive it.
  SchemaReader(const boost::json::value& document, Budget& budget) : document_(document), budget_(budget) {}

  // Adds what the schema says, with what it refers to, to the facets.
  void read(const SchemaSource& schema, SchemaFacets& facets) const { read(schema, facets, 0); }

  // What a $ref points to.
  [[nodiscard]] SchemaSource resolve(const boost::json::value& reference, const std::string& path) const;

 private:
  void read(const SchemaSource& schema, SchemaFacets& facets, size_t depth) const;
  void read_member(std::string_view key, const SchemaSource& member, SchemaFacets& facets, size_t depth) const;
  [[nodiscard]] bool read_composition(std::string_view key, const SchemaSource& member, SchemaFacets& facets,
                                      size_t depth) const;
  [[nodiscard]] bool read_number_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const;
  [[nodiscard]] bool read_string_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const;
  [[nodiscard]] bool read_array_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const;
  [[nodiscard]] bool read_object_limit(std::string_view key, const SchemaSource& member, SchemaFacets& facets) const;
  [[nodiscard]] uint32_t count(const SchemaSource& member) const;

  const boost::json::value& document_;
  Budget& budget_;
};

// Keywords that say nothing of what is valid.
[[nodiscard]] bool is_annotation(std::string_view keyword);

}  // namespace bellwether::text::grammar
