// Text into the pieces within which bytes are merged.
#pragma once

#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "text/regex.h"

namespace bellwether::text {

// Immutable: usable from several threads.
class PreTokenizer {
 public:
  // `description`: the member pre_tokenizer of tokenizer.json. Throws TextError for what Tokenizer does not support.
  explicit PreTokenizer(const boost::json::value& description);

  // Appends the pieces of `text`, in order and none empty: together they are the text. REQUIRES: `text` is UTF-8.
  // Throws TextError when a pattern cannot cope with it.
  void split(std::string_view text, std::vector<std::string_view>& pieces) const;

 private:
  std::vector<Regex> splits_;  // each cuts the pieces of the one before: its matches and what is between them
};

}  // namespace bellwether::text
