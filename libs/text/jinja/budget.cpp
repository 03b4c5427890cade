#include "text/jinja/budget.h"

#include <fmt/format.h>

namespace bellwether::text::jinja {

void Budget::spend_steps(uint64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps_max) throw RenderError(fmt::format("takes more than {} steps", limits_.steps_max));
}

void Budget::spend_text(uint64_t bytes) {
  text_bytes_ += bytes;
  if (text_bytes_ > limits_.text_bytes_max) {
    throw RenderError(fmt::format("makes more than {} bytes of text on its way", limits_.text_bytes_max));
  }
  spend_steps(bytes / 64);
}

void Budget::check_output(size_t bytes) const {
  if (bytes > limits_.output_bytes_max) {
    throw RenderError(fmt::format("writes more than {} bytes", limits_.output_bytes_max));
  }
}

Budget::Level::Level(Budget& budget) : budget_(budget) {
  if (budget_.depth_ >= budget_.limits_.depth_max) {
    throw RenderError(fmt::format("is nested deeper than {} levels", budget_.limits_.depth_max));
  }
  ++budget_.depth_;
}

}  // namespace bellwether::text::jinja
