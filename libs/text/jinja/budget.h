// What one rendering of a template may cost.
#pragma once

#include <cstddef>
#include <cstdint>

#include "text/tokenizer.h"

namespace bellwether::text::jinja {

struct Limits {
  size_t template_bytes_max = size_t{256} << 10;
  size_t output_bytes_max = size_t{64} << 20;
  // Nodes evaluated, items made or looked at, and for each 64 bytes of text made one more.
  uint64_t steps_max = 5'000'000;
  uint64_t text_bytes_max = uint64_t{256} << 20;  // of all texts made on the way, live or not
  size_t depth_max = 400;  // of nested expressions and statements, also through macros, and of values
};

// A template that cannot be loaded: "line 3: ...".
class LoadError : public TextError {
 public:
  using TextError::TextError;
};

// A template that fails while it renders, in words for whoever sent the conversation.
class RenderError : public TextError {
 public:
  using TextError::TextError;
};

// What a rendering has left. Every function that makes a text or a list, or looks at all of one, spends from it.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  [[nodiscard]] const Limits& limits() const { return limits_; }
  // They throw RenderError when it is more than the limits allow.
  void spend_steps(uint64_t steps);
  void spend_text(uint64_t bytes);  // to be made
  void check_output(size_t bytes) const;

  // One level of nesting.
  class Level {
   public:
    explicit Level(Budget& budget);
    ~Level() { --budget_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  const Limits limits_;
  uint64_t steps_ = 0;
  uint64_t text_bytes_ = 0;
  size_t depth_ = 0;
};

}  // namespace bellwether::text::jinja
