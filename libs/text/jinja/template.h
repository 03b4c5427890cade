// Chat templates: Jinja2 as Hugging Face transformers runs it (trim_blocks, lstrip_blocks, loopcontrols, generation,
// an immutable sandbox, its tojson, raise_exception and strftime_now), with limits on what a rendering may cost.
//
// Left out, and an error when the template is loaded: include, import, extends, block, do, autoescape, trans, recursive
// loops, varargs and kwargs in macros, formatting by %, filters and methods that chat templates do not use. Different
// from Python, where templates do not look: integers have 64 bits; "ß" has no upper case; select(), map() and the like
// are computed at once.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "text/jinja/budget.h"

namespace bellwether::text::jinja {

// Immutable: render() may be called from several threads at once.
class Template {
 public:
  // Throws LoadError with the line.
  static Template parse(std::string_view source, const Limits& limits = {});
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // `now` is what strftime_now() formats, in local time. Throws TextError: the message of raise_exception as it is; for
  // all else what went wrong and the line.
  [[nodiscard]] std::string render(const boost::json::object& variables, std::time_t now) const;

 private:
  struct Data;
  explicit Template(std::unique_ptr<const Data> data);
  std::unique_ptr<const Data> data_;
};

}  // namespace bellwether::text::jinja
